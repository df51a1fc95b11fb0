"""An object store as the journal needs it: objects are created once, never changed, and read as they first were.

Two guarantees carry everything else. `create` lets one writer win and tells every other; that is the fence (safety
rule 7). `read` gives the first version, because a lock on objects does not keep anybody from putting a new version or
a delete marker on top.

The fence has one hole, in S3 itself: behind a delete marker a second creation succeeds. Whoever may delete can open
it, and it leaves a trace: the object has `later` versions, and its first one is another than the writer's. So every
listing tells; a run is compared with one before it is gone on with, and whenever it is verified. After each create it
would double the requests, so between two starts of a process the fence stands on the bucket's policy: it should let
nobody delete (`s3:DeleteObject`, which also puts delete markers; Object Lock does not forbid those).
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec


class Taken(Exception):
    """There is an object of that key already, with other bytes: somebody else wrote it. It has not been changed."""


class FateUnknown(Exception):
    """The object may or may not have been stored. Only reading tells (safety rule 8)."""


class StoreUnreachable(Exception):
    """The store could not be asked, or gave no answer to a question: nothing was stored."""


class StoreRefused(Exception):
    """The store says no, and nothing was stored: no such bucket, expired credentials, a permission that is not there.

    Trying again does not help; the message says what does.
    """


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it stands in the store."""

    key: str
    version: str
    """Id of the first version; empty when only delete markers are left."""
    size: int = 0
    """Bytes of the first version."""
    md5: str = ""
    """MD5 of the first version in hex, as the store computed it; empty where it computes none (SSE-KMS).

    It spares reading an object that equals what is here already. It proves nothing: that is what the chain is for.
    """
    later: int = 0
    """Versions that were put on top of the first one."""
    deleted: int = 0
    """Delete markers that were put on it."""


class Store(Protocol):
    """Where journals are kept. Keys are relative to the store's prefix and consist of ASCII letters, digits, `-_./`."""

    name: str
    """For messages: `s3://bucket/prefix`."""

    def create(self, key: str, data: bytes, *, within: float) -> None:
        """Store a new object; when this returns it is durable.

        Harmless when repeated with the same bytes: they are taken for the caller's own. So they must hold something
        that no other writer's have.

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

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """The objects below a prefix, by key; those that are hidden under a delete marker too.

        Args:
            prefix: how their keys begin.
            after: a key; only those behind it.

        Raises:
            StoreUnreachable, StoreRefused
        """
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below a prefix (which ends in `/`) that have objects below them.

        Raises:
            StoreUnreachable, StoreRefused
        """
        ...

    def caller(self, *, within: float) -> str:
        """Who the store takes us for (an ARN); empty when it does not say in that many seconds."""
        ...
