"""An object store as the journal needs it: objects are created once, never changed, and read as they first were.

Two guarantees carry everything else. `create` lets one writer win and tells every other; that is the fence (safety rule 7).
`read` gives the first version, because a lock on objects does not keep anybody from putting a new version or a delete marker
on top.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec


class Taken(Exception):
    """There is an object of that key already, with other bytes: somebody else wrote it. It has not been changed."""


class FateUnknown(Exception):
    """The object may or may not have been stored. Only reading tells (safety rule 8)."""


class StoreUnreachable(Exception):
    """The store could not be asked: nothing was stored."""


class StoreRefused(Exception):
    """The store says no: the bucket is missing, the credentials have expired, a permission is not there. Nothing was stored."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it stands in the store."""

    key: str
    version: str
    """Id of the first version; empty where the store keeps no versions."""
    later: int = 0
    """Versions that were put on top of the first one."""
    deleted: int = 0
    """Delete markers that were put on top of it."""


class Store(Protocol):
    """Where journals are kept. Keys are relative to the store's prefix and consist of ASCII letters, digits, `-_./`."""

    name: str
    """For messages: `s3://bucket/prefix`."""

    def create(self, key: str, data: bytes, *, within: float) -> None:
        """Store a new object; when this returns it is durable. Harmless when repeated with the same bytes.

        Args:
            key: its name.
            data: its bytes.
            within: seconds after which the fate is unknown.

        Raises:
            Taken, FateUnknown, StoreUnreachable, StoreRefused
        """
        ...

    def read(self, stored: Stored) -> bytes:
        """The bytes of the first version, their checksum verified.

        Raises:
            StoreUnreachable, StoreRefused
        """
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects below a prefix, by key; those that are hidden under a delete marker too.

        Raises:
            StoreUnreachable, StoreRefused
        """
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix that have objects below them."""
        ...
