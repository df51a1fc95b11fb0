"""How steps see what takes clients to their database server, and what can keep them from it.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked, and is harmless when
repeated.
"""

from typing import Annotated, Protocol

import msgspec

from dr.targets.switching import DatabaseServer

Application = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
"""The application_name of sessions."""


class PoolState(msgspec.Struct, frozen=True):
    server: str
    """Name of the target that clients are taken to; empty when it is none of those known, or not all go to one."""
    paused: bool
    """Clients' queries are held, at least in part."""


class ConnectionPool(Protocol):
    """What takes an application to its database server.

    PgBouncer makes clients wait while there is none to take them to; of others they get errors meanwhile, and then it
    takes them to the right one.
    """

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def state(self) -> PoolState: ...

    def obstacles(self) -> tuple[str, ...]:
        """Why it could not hold clients unnoticed; empty when it could."""
        ...

    def backends(self, primary: DatabaseServer) -> frozenset[int]:
        """The server's process ids of the sessions that come through it."""
        ...

    def pause(self, give_up: float) -> None:
        """Hold queries from now on, and wait until none is at work; or let nobody through.

        A client that is held for longer than `give_up` seconds gets an error, also when nobody lives to resume the
        pool.
        """
        ...

    def drop(self) -> None:
        """Cut off all sessions, clients' and the server's. Clients that come back are held until it is resumed."""
        ...

    def resume(self) -> None:
        """Let held queries go. Harmless when none are held."""
        ...

    def prepare_repoint(self, server: str) -> None:
        """Get ready for `repoint`, so that it takes less time. Changes nothing in force; raises as that does."""
        ...

    def repoint(self, server: str) -> None:
        """Take clients to the target of that name.

        Raises:
            LookupError: the pool knows no such server.
            Conflict: somebody else keeps changing what decides.
        """
        ...


class ServerGate(Protocol):
    """What clients have to pass to get to a server, and what can keep them from it."""

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def ways_to(self, server: str) -> tuple[str, ...]:
        """By which ways clients still get to the target of that name, in words; now, or once this is restarted.

        Raises:
            Refused: there is one that it cannot close.
            LookupError: it knows no such server.
        """
        ...

    def prepare_shut(self, server: str) -> None:
        """Try what could keep `shut` from being done: a file that cannot be replaced, a user that may only look.

        Raises:
            LookupError: it knows no such server.
        """
        ...

    def shut(self, server: str) -> None:
        """Lead clients to another server, or hold them, and end what they have there; they stay held if they were.

        Raises:
            LookupError: it knows no such server.
            Conflict: somebody else keeps changing what decides.
        """
        ...
