"""How steps see what changes roles: a database server with its process and data, and the pool before it.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked, and is harmless when
repeated.
"""

from collections.abc import Collection
from typing import Annotated, Literal, Protocol

import msgspec

from dr.core.step import target

Situation = Literal["writable", "standby", "fenced", "stopped", "crashed"]
"""How a database server stands.

`writable`: it runs and takes writes. `standby`: it runs and takes none. `fenced`: it is down, and its next start makes
it a standby. `stopped`, `crashed`: it is down, in order or not, and its next start makes it writable.
"""


Pulse = Literal["answers", "overloaded", "starting", "refuses", "silent"]
"""Signs of life of a server that should take connections.

`overloaded`: it runs, and has no connection left. `starting`: it runs, and does not take any yet, or any more.
`refuses`: nothing listens there. `silent`: no answer.
"""


class DatabaseServer(Protocol):
    """A database server with its process and its data, which can be asked and changed also while it is down.

    What raises `Refused` says why. What waits does so until the deadline, and then raises TargetUnreachable.
    """

    replication: str
    """How a standby connects to it; holds no password."""

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def take_over(self) -> None:
        """Be the only one who changes it: what was begun on its host earlier has ended then, or will never begin.

        Before what decides is looked at: an earlier attempt may have been cut off with a command under way.
        """
        ...

    def situation(self) -> Situation: ...

    def pulse(self) -> Pulse:
        """Signs of life, as a client sees them. Raises nothing."""
        ...

    def heard(self) -> float | None:
        """Seconds since it, a standby, heard of its primary; None when it is not connected to one."""
        ...

    def received(self) -> int:
        """Bytes of WAL that it, a standby, has received; they are replayed before a promotion is over."""
        ...

    def seconds(self, query: str) -> float:
        """The number of seconds that a query gives, read in a READ ONLY transaction.

        Raises:
            LookupError: the server refuses the query, or it gives none.
        """
        ...

    def obstacles(self, to: Literal["primary", "standby"]) -> tuple[str, ...]:
        """Why this server, which runs, could not serve as one; empty when it could."""
        ...

    def room(self) -> int:
        """Connections that it could still take."""
        ...

    def sessions_besides(self, pids: Collection[int], applications: Collection[str]) -> tuple[str, ...]:
        """Client sessions of neither these backends nor these applications, in words; never dr's own."""
        ...

    def oldest_transaction(self) -> float:
        """Seconds since the oldest open transaction of a client began; 0 when there is none."""
        ...

    def follows(self, primary: "DatabaseServer") -> bool:
        """Whether it is a standby that streams, of the same origin and on the same timeline."""
        ...

    def origin(self) -> tuple[str, int]:
        """What its data come from (equal for all copies of one database), and its timeline."""
        ...

    def position(self) -> int:
        """Bytes of WAL written (a primary) or replayed (a standby)."""
        ...

    def catch_up(self, position: int) -> None:
        """Wait until it, a standby, has replayed up to there."""
        ...

    def checkpoint(self) -> None:
        """Write out what is in memory, so that a stop or a promotion has little left to write."""
        ...

    def stop(self) -> int:
        """Shut it down in order, its sessions ended; the position of its last record. No more is written after this.

        Raises:
            Refused: it is down already, and was not shut down in order.
        """
        ...

    def stop_and_fence(self) -> int:
        """Both, in less time than one after the other. Whatever it raises, the server may be fenced."""
        ...

    def halt(self) -> None:
        """Take it down at once. Harmless when it is down."""
        ...

    def start(self) -> None:
        """Start it, and wait until it answers."""
        ...

    def wake(self) -> None:
        """Start it, and wait until it holds its data: then no process of an earlier start is left that could write.

        Raises:
            Refused: there is one left, or it does not start.
        """
        ...

    def fence(self) -> None:
        """See to it that it is down and cannot come back writable by itself; durable when this returns.

        Raises:
            Refused: it is not down. Then it is not fenced.
        """
        ...

    def unfence(self) -> None:
        """Let its next start make it writable again."""
        ...

    def promote(self) -> None:
        """Make a standby writable, and wait until it is."""
        ...

    def follow(self, upstream: str) -> None:
        """Have it, a standby, stream from there."""
        ...

    def rewind(self, upstream: str) -> None:
        """Discard what it, which is down, has written and the server there never got. It stays fenced.

        Raises:
            Refused: it cannot be rewound; it must be made anew from a backup.
        """
        ...

    def claim(self, owner: str) -> None:
        """Note beside its data who is about to stop it; durable when this returns."""
        ...

    def claimed(self) -> str:
        """Who noted that; empty when nobody did."""
        ...

    def disclaim(self) -> None:
        """Take the note away."""
        ...


ServerName = Annotated[str, target(DatabaseServer)]
"""The name of a database server, in another target's configuration."""


class FencingAgent(Protocol):
    """What can cut a machine off from outside, when the machine itself cannot be asked."""

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def fenced(self) -> bool:
        """Whether it is cut off for certain."""
        ...

    def fence(self) -> None:
        """Cut it off, and wait until it is.

        Raises:
            Refused: it is not cut off in time.
        """
        ...


class PoolState(msgspec.Struct, frozen=True):
    server: str
    """Name of the target that clients are taken to; empty when it is none of those known, or not all go to one."""
    paused: bool
    """Clients' queries are held, at least in part."""


class ConnectionPool(Protocol):
    """What stands between an application and its database server, and can make it wait."""

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def state(self) -> PoolState: ...

    def obstacles(self) -> tuple[str, ...]:
        """Why it could not hold clients unnoticed; empty when it could."""
        ...

    def backends(self) -> frozenset[int]:
        """The server's process ids of the pool's sessions."""
        ...

    def pause(self, give_up: float) -> None:
        """Hold queries from now on, and wait until none is at work.

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

    def repoint(self, server: str) -> None:
        """Take clients to the target of that name.

        Raises:
            LookupError: the pool knows no such server.
            Conflict: somebody else keeps changing what decides.
        """
        ...
