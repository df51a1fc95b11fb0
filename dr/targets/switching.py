"""How steps see what changes roles: a database server with its process and data, what fences it, a managed cluster.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked, and is harmless when
repeated.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Literal, Protocol

import msgspec

from dr.core.step import target

Situation = Literal["writable", "standby", "recovering", "fenced", "stopped", "crashed", "absent"]
"""How a database server stands.

`writable`: it runs and takes writes. `standby`: it runs and takes none. `recovering`: it runs, will be a standby, and
answers no query yet (a crashed server may replay its WAL for minutes). `fenced`: it is down, and its next start makes
it a standby. `stopped`, `crashed`: it is down, in order or not, and its next start makes it writable.
`absent`: it has no data.
"""


RUNS_FENCED: tuple[Situation, ...] = ("standby", "recovering")
NOT_WRITABLE: tuple[Situation, ...] = (*RUNS_FENCED, "fenced")
"""It cannot take a write, whoever starts it."""

Pulse = Literal["answers", "overloaded", "starting", "refuses", "silent"]
"""Signs of life of a server that should take connections.

`overloaded`: it runs, and has no connection left. `starting`: it runs, and does not take any yet, or any more.
`refuses`: nothing listens there. `silent`: no answer.
"""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """How far a server that was restored has replayed the archive."""

    state: Literal["down", "replaying", "held", "exhausted", "starved", "writable"]
    """`held`: it has stopped by itself, at the moment it was to stop at. `exhausted`: the archive has no more.
    `starved`: the archive has more, or should have, and does not give it. `down`: it does not run."""
    until: str = ""
    """When the last transaction was committed that it has replayed; empty before the first one."""
    file: str = ""
    """The WAL file that it is at, where that can be seen."""
    why: str = ""
    """Why it is starved."""


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

    def received(self) -> tuple[int, int]:
        """The timeline and the bytes of WAL that it, a standby, has received; they are replayed before a promotion.

        One on an older timeline lacks all that was written on the newer one, however many bytes it has.
        """
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

    def backends_of(self, applications: Collection[str]) -> frozenset[int]:
        """The process ids of these applications' sessions."""
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

    def prepare_stop(self) -> None:
        """Get ready for `stop_and_fence`, so that it takes less time. Changes nothing."""
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
            Refused: it is not down. Then it is not fenced, but if it was before.
        """
        ...

    def unfence(self) -> None:
        """Let its next start make it writable again."""
        ...

    def still_in(self, keep: Collection[str]) -> tuple[str, ...]:
        """Who could write to it, besides these roles and dr's own: in words, who may log in and who has a session."""
        ...

    def keep_out(self, keep: Collection[str]) -> None:
        """Keep all but these roles from logging in, until it or a copy of it is promoted; have their sessions end."""
        ...

    def promote(self) -> None:
        """Make a standby writable, and wait until it is."""
        ...

    def follow(self, upstream: str) -> None:
        """Have it, a standby, stream from there."""
        ...

    def rewind(self, upstream: str) -> None:
        """Discard what it, which is down, has written and the server there never got. It stays fenced.

        Where this is cut short, nobody can start it, until it has come to its end or `copy` took its place.

        Raises:
            Refused: it cannot be rewound; it must be made anew from a backup.
        """
        ...

    def copy(self, upstream: str, owner: str) -> None:
        """Make it, which is down or absent, a fenced copy of the server there. What it had is kept, named by `owner`.

        Raises:
            Refused: it is not down, or the copy cannot be made; then what it has is as it was.
        """
        ...

    def backup(self, until: str) -> str:
        """Which backup `restore` would take, or what would fetch it. Raises Refused: there is none."""
        ...

    def restore(self, owner: str, until: str, tell: Callable[[str], None]) -> Mapping[str, str]:
        """The same, from its newest backup, which is checked; which one that is. `tell` hears how far it is.

        With `until`, a moment in UTC (`2023-05-15 13:59:59.000000+00`), from the newest backup that was complete then;
        the replay of the archive will be held there.

        Raises:
            Refused: as before; or there is no such backup, or it is not whole.
        """
        ...

    def replay(self) -> Replay:
        """How far it has replayed what was archived since the backup; it may have been told to start just now."""
        ...

    def restored(self) -> str:
        """Who restored what it has from a backup; empty when nobody did."""
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
    """What can cut a server off from outside, when it cannot be made to stop."""

    server: str
    """The name of the server that it cuts off; empty where its configuration does not say that."""

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


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A server of a cluster that is managed, as it answers itself."""

    situation: Literal["writable", "standby"] | Pulse
    managed: bool
    """The manager beside it answers."""
    timeline: int = 0
    received: int = 0
    """Bytes of WAL that it, a standby, has received."""
    heard: float | None = None
    """Seconds since it, a standby, heard of its primary; None when it is not connected to one."""


class ManagedCluster(Protocol):
    """A database cluster whose own manager changes the roles of its members: it is asked to, and watched."""

    def keep_within(self, seconds: float) -> None:
        """From now on every call has returned within `seconds` from now."""
        ...

    def leader(self) -> str:
        """The member that the manager holds for the primary; empty when there is none."""
        ...

    def members(self) -> Mapping[str, Member]:
        """All members, by their names in the cluster. One that does not answer is `silent`."""
        ...

    def settles_within(self) -> float:
        """Seconds after which a request that nobody answered was acted upon, or never will be."""
        ...

    def switch_over(self, leader: str, to: str) -> None:
        """Have the leader hand over to another member. Nothing happens when the leader is another one by now.

        Raises:
            Refused: the manager says no, and has begun nothing.
            TargetUnreachable: it may happen, or not.
        """
        ...

    def fail_over(self, to: str) -> None:
        """Have a member become the primary though there is no leader that works. Raises as `switch_over` does."""
        ...

    def seconds(self, member: str, query: str) -> float:
        """The number of seconds that a query gives on that member, read in a READ ONLY transaction.

        Raises:
            LookupError: the server refuses the query, or it gives none.
        """
        ...

    def paused(self) -> bool:
        """Whether the manager leaves the roles alone, whatever happens."""
        ...

    def pause(self, *, paused: bool) -> None:
        """Have the manager leave the roles alone, or take care of them again."""
        ...
