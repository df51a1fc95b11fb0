"""How steps see the things they act on. One small Protocol each; a technology is a file beside this one.

Every call raises `TargetUnreachable` when the thing could not be asked, and takes no longer than the deadline its
target was opened with. A call that changes something is harmless when repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Protocol

import msgspec

from dr.core.step import target

LocalPath = Annotated[str, msgspec.Meta(min_length=1, extra={"path": True})]
"""A path on this machine. A relative one starts from the folder of `dr.toml`; binding makes it absolute."""


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What `dr.toml` says about one target. A technology subclasses it with `tag="its-name"`."""

    speaks: ClassVar[tuple[str, ...]]
    """Names of the Protocols that the opened target fulfils."""


def _none(name: str) -> "Target":
    raise LookupError(f"there is no target {name}")


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What a target is opened with, besides its configuration."""

    name: str
    """The target's name in `dr.toml`; errors begin with it."""
    label: str
    """Who is asking, for the target's own records: `dr:<run>:<step>:<attempt>`."""
    timeout: float
    """Seconds from now within which every call must have returned."""
    secret: Callable[[str], str]
    """Resolves a reference and masks what it finds from then on."""
    mask: Callable[[str], None]
    """Masks a value that is only a part of a secret, such as the password in a connection string."""
    other: Callable[[str], "Target"] = _none
    """Opens another target, that this one's configuration names, with the same label and time; its opener closes it."""


class Target(Protocol):
    """What every target can do."""

    def ping(self) -> None:
        """Ask whether it can be reached, cheaply and without changing anything."""
        ...

    def close(self) -> None:
        """Let it go. Harmless when repeated; raises nothing."""
        ...


class TargetUnreachable(Exception):
    """The target could not be asked: refused, timed out, wrong credentials. Says nothing about what it did before."""


class Overloaded(TargetUnreachable):
    """It answers that it has no connection left. So it lives, and what fills it has to go."""


class Refused(Exception):
    """The target was asked, and says that it cannot be done."""


class Conflict(Exception):
    """Somebody else changed the thing between the look and the change."""


class FlagState(msgspec.Struct, frozen=True):
    """One feature flag as it stands in its store."""

    enabled: bool
    variant: str
    """Name of the variant that is served by default; empty when the application's own default is."""
    targeted: bool = False
    """Rules decide before the default variant does. Read only: writing a flag leaves its rules alone."""
    arriving: bool = False
    """Not every application is given it yet: the store hands it out step by step. Read only, too."""

    def __str__(self) -> str:
        serving = f" with the variant {self.variant!r}" if self.variant else ""
        return f"{'enabled' if self.enabled else 'disabled'}{serving}"


class FlagStore(Protocol):
    """Where an application's feature flags stand."""

    def read(self, flag: str) -> FlagState:
        """The flag as it stands. Raises LookupError when there is no such flag."""
        ...

    def write(self, flag: str, state: FlagState, *, expected: FlagState) -> FlagState:
        """Set the flag, if it still stands as `expected` (or already as `state`); returns what is stored.

        Raises:
            LookupError: there is no such flag, or no such variant.
            Conflict: somebody else changed it meanwhile.
        """
        ...


class SessionMatch(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions of a database are meant. Every criterion that is given must fit."""

    application: str | None = None
    """The session's application_name."""
    feature: str | None = None
    """The feature that the leading SQL comment names: `/*feature='x'*/ select ...`."""
    older_than: float = 0.0
    """Seconds since the session's current (or last) query began."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a database, as the database itself shows it."""

    pid: int
    started: str
    """Start of the backend (UTC). With the pid it names one session, pids being reused."""
    user: str
    application: str
    feature: str | None
    state: str
    age: float
    """Seconds since its current (or last) query began."""


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a standby is behind its primary."""

    bytes: int
    seconds: float
    """0 when there is nothing left to replay; never NULL as in pg_stat_replication of an idle system."""


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Client connections of a server: how many there may be, and are."""

    limit: int
    """For roles without privileges: max_connections less what is reserved."""
    used: int
    """Of all roles and databases, dr's own included."""
    application: int
    """Those of one application."""

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)


class Database(Protocol):
    """A database server."""

    def is_standby(self) -> bool: ...

    def sessions(self, match: SessionMatch) -> tuple[Session, ...]:
        """Client sessions of this database that match; never dr's own, replication or background workers."""
        ...

    def terminate(self, sessions: tuple[Session, ...]) -> int:
        """End these sessions, each only if pid and start still agree; returns how many were told to end."""
        ...

    def scalar(self, query: str) -> object:
        """First column of the first row, read in a READ ONLY transaction; None when there is no row.

        A JSON value: numbers stay numbers, what JSON has no type for becomes text.

        Raises:
            LookupError: the database refuses the query.
        """
        ...

    def lag_behind(self, primary: "Database") -> Lag:
        """How far this standby is behind `primary`, in WAL bytes and seconds.

        Raises:
            LookupError: it is not a standby of that primary.
        """
        ...

    def receives(self) -> bool:
        """Whether this standby is connected to its primary; for a minute also when that one only hangs."""
        ...

    def connections(self, application: str) -> Connections:
        """How many connections it has, and how many of them are the application's (by application_name)."""
        ...

    def wal_position(self) -> int:
        """Bytes of WAL flushed (a primary) or replayed (a standby): an LSN as a number."""
        ...

    def reads_seen(self, application: str, window: float) -> int:
        """Distinct reading queries of the application's sessions begun on this server within `window` seconds.

        Takes that long. By sampling, so a lower bound; 0 means that none was seen. What its text shows to write does
        not count: an application may read from one server and write to another under one name.
        """
        ...


DatabaseName = Annotated[str, target(Database)]
"""The name of another target, in a target's configuration; binding checks it and takes that target along."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """How traffic is routed: percent that goes to the standby (0 to 100)."""

    standby: int

    @classmethod
    def of_weights(cls, *, primary: int, standby: int) -> "Share":
        """The share that two weights give, of which one at least is not 0.

        0 and 100 are said only when they are exact: they mean that one of the places gets nothing.
        """
        lowest, highest = int(standby > 0), 100 - int(primary > 0)
        return cls(standby=min(max(round(100 * standby / (primary + standby)), lowest), highest))


class TrafficRouter(Protocol):
    """What decides which of two places is used: the primary or its standby, be they servers or sites."""

    def shares(self) -> tuple[int, ...]:
        """The shares it can set, ascending, from 0 to 100. A stage between them cannot be set."""
        ...

    def share(self) -> Share:
        """The share in force. Raises LookupError when what decides is not of the router's making."""
        ...

    def time_to_live(self) -> float:
        """Seconds for which clients may still go where they were sent before, by an answer they keep; 0: none do."""
        ...

    def shift(self, share: Share) -> None:
        """Set the share, one of `shares()`.

        Raises:
            LookupError: it cannot set this share.
            Conflict: somebody else keeps changing what decides.
        """
        ...


class ReadRouter(TrafficRouter, Protocol):
    """What decides where an application reads."""

    primary: str
    """Name of the target that is the primary database."""
    standby: str
    """Name of the target that takes the reads."""
    application: str
    """application_name of the sessions that read."""


Receipt = Mapping[str, object]
"""What the service that took a message has answered; goes into the journal."""


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    body: bytes
    """At most the first 64 KiB."""
    seconds: float


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    """Stands after the service's own address."""
    headers: Mapping[str, str] = {}
    body: bytes | None = None


class HttpService(Protocol):
    """A service that does something when it is asked to."""

    def send(self, request: HttpRequest, *, timeout: float) -> HttpReply:
        """The answer, whatever its status; a redirect is not followed, and nothing is sent twice.

        The headers that hold secrets are the service's own and are added by it.
        """
        ...


class Notifier(Protocol):
    """What tells people: a topic, a chat, a pager."""

    def tell(self, subject: str, text: str) -> Receipt:
        """Hand a message over. Raises LookupError when it is refused."""
        ...

    def told(self) -> Receipt | None:
        """What this process has handed over for the step that asks, in whichever attempt; None: nothing yet."""
        ...


class HttpEndpoint(Protocol):
    """A website or service."""

    def get(self, path: str, *, timeout: float) -> HttpReply:
        """GET the path, which stands after the endpoint's own address; a redirect is an answer and is not followed."""
        ...


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended on one host."""

    host: str
    status: int | None
    """Its exit status. None: not known, because the host was not reached, was lost, or did not answer in time."""
    said: str
    """The end of its output; where the status is not known, why."""


class HostGroup(Protocol):
    """Hosts on which the same command is run."""

    hosts: tuple[str, ...]

    def run(
        self,
        argv: Sequence[str],
        hosts: Sequence[str],
        *,
        at_once: int,
        go_on: Callable[[Sequence[HostAnswer]], bool],
    ) -> tuple[HostAnswer, ...]:
        """Run the command on these hosts, `at_once` of them at a time; one answer for each on which it was begun.

        Never raises TargetUnreachable: that a host could not be asked is its answer.

        Args:
            argv: the command and its arguments; no shell reads them again.
            hosts: some of `self.hosts`.
            at_once: hosts on which it runs at the same time.
            go_on: asked several times a second, with the answers so far, whether further hosts may begin. What it
                raises ends the call and closes the connections; what was begun may go on on its host.
        """
        ...
