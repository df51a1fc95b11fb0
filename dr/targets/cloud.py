"""How steps see an account of a cloud: one small Protocol for each of its services that a runbook changes.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked; repeating it does no harm.
"""

from typing import Protocol

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter as it stands in the store."""

    version: int
    """Counts up with each write; the store keeps what older versions held."""
    secret: bool
    value: str | None
    """None if it is secret: it is compared and restored where it stands, and never read by a step."""


class Parameters(Protocol):
    """A store of configuration that applications read."""

    def read(self, name: str) -> Parameter | None:
        """The parameter; None when there is none of that name."""
        ...

    def holds(self, name: str, value: str, *, secret: bool) -> bool:
        """Whether the parameter has this value; a secret one is named by a reference."""
        ...

    def same(self, name: str, version: int) -> bool:
        """Whether the parameter has the value that it had in that version.

        Raises:
            LookupError: the store no longer keeps it.
        """
        ...

    def write(self, name: str, value: str, *, secret: bool) -> Parameter:
        """Give it this value, or make it; a secret one takes a reference to its value. What else it has stays.

        Raises:
            LookupError: the store refuses the value, or the parameter is secret and should not be (or the reverse).
        """
        ...

    def restore(self, name: str, version: int) -> Parameter:
        """Give it the value again that it had in that version. Raises LookupError when that is no longer kept."""
        ...

    def remove(self, name: str) -> None: ...


class CloudAccount(Protocol):
    """An account of a cloud in one region."""

    @property
    def parameters(self) -> Parameters: ...
