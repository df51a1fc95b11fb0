"""A PostgreSQL server, asked by SQL.

psycopg is loaded when the first one is opened: `dr --help` must not pay for it.
"""

import re
import time
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import (
    Connections,
    Database,
    Lag,
    Opening,
    Session,
    SessionMatch,
    TargetConfig,
    TargetUnreachable,
)
from dr.targets.transport.dsn import Dsn, check_dsn

if TYPE_CHECKING:
    from dr.targets.transport.libpq import Client

SAMPLE_EVERY: Final = 0.02
"""Seconds between two looks at pg_stat_activity; one costs about a millisecond."""
CATCH_UP: Final = 0.2
"""Seconds a standby is given to replay what its primary had just written, before it is said to lag."""
POLL: Final = 0.005


class Postgresql(TargetConfig, frozen=True, tag="postgresql"):
    """A PostgreSQL server."""

    speaks: ClassVar[tuple[str, ...]] = ("Database",)

    dsn: Dsn
    """A libpq connection string or URI without a password, or a reference to one (which may hold it)."""
    password: SecretRef | None = None

    def __post_init__(self) -> None:
        check_dsn("dsn", self.dsn)
        check_reference("password", self.password)


def open_target(config: Postgresql, opening: Opening) -> "PostgresqlDatabase":
    """Connect. Raises TargetUnreachable."""
    from dr.targets.transport import libpq

    return PostgresqlDatabase(opening.name, libpq.login(opening, config.dsn, config.password))


class PostgresqlDatabase:
    """A Database. It sees the sessions of the database it is connected to, not those of others on the same server."""

    def __init__(self, name: str, client: "Client") -> None:
        self._name = name
        self._client = client

    def ping(self) -> None:
        self._client.rows("select 1")

    def close(self) -> None:
        self._client.close()

    def is_standby(self) -> bool:
        [(standby,)] = self._client.rows("select pg_is_in_recovery()")
        return bool(standby)

    def sessions(self, match: SessionMatch) -> tuple[Session, ...]:
        found = []
        for hidden, query, *shown in self._client.rows(_SESSIONS):
            session = Session(**dict(zip(_SHOWN, shown, strict=True)), feature=feature_of(query))
            if match.application not in {None, session.application}:
                continue
            if hidden:
                raise TargetUnreachable(f"{self._name} does not show what session {session.pid} does: {_WHY_HIDDEN}")
            if _fits(session, match):
                found.append(session)
        return tuple(found)

    def terminate(self, sessions: tuple[Session, ...]) -> int:
        pids = [session.pid for session in sessions]
        [(told,)] = self._client.rows(_TERMINATE, [pids, [session.started for session in sessions]])
        return int(told)

    def scalar(self, query: str) -> object:
        return self._client.first(query)

    def lag_behind(self, primary: Database) -> Lag:
        """Measured, not read from pg_stat_replication, whose lag columns are NULL on an idle system.

        The seconds are how long the standby took to replay what the primary had written when it was asked. If that is
        too long to wait for, they are the age of the last transaction replayed, by the primary's clock: an upper bound,
        because the primary may have been idle since.
        """
        self._check_standby_of(primary)
        began = time.monotonic()
        written = primary.wal_position()
        behind = written - self.wal_position()
        left = behind
        while left > 0 and time.monotonic() - began < CATCH_UP:
            time.sleep(POLL)
            left = written - self.wal_position()
        if left <= 0:
            return Lag(bytes=max(0, behind), seconds=time.monotonic() - began if behind > 0 else 0.0)
        [(replayed,)] = self._client.rows(_LAST_REPLAYED)
        now = primary.scalar("select extract(epoch from clock_timestamp())")
        age = float(now) - float(replayed) if isinstance(now, int | float) else 0.0
        return Lag(bytes=left, seconds=max(age, time.monotonic() - began))

    def wal_position(self) -> int:
        [(position,)] = self._client.rows(_WAL_POSITION)
        return int(position)

    def receives(self) -> bool:
        [(receivers,)] = self._client.rows(_RECEIVERS)
        return bool(receivers)

    def connections(self, application: str) -> Connections:
        [(limit, used, own)] = self._client.rows(_CONNECTIONS, [application])
        return Connections(limit=int(limit), used=int(used), application=int(own))

    def reads_seen(self, application: str, window: float) -> int:
        [(since,)] = self._client.rows("select clock_timestamp()")
        end = time.monotonic() + window
        seen: set[object] = set()
        while True:
            for pid, begun, query in self._client.rows(_READS, [application, since]):
                if only_reads(query):
                    seen.add((pid, begun))
            left = end - time.monotonic()
            if left <= 0:
                return len(seen)
            time.sleep(min(left, SAMPLE_EVERY))

    def _check_standby_of(self, primary: Database) -> None:
        """WAL positions of two servers of different origin can be compared, and mean nothing."""
        if not self.is_standby():
            raise LookupError(f"{self._name} is not a standby")
        if self.scalar(_SYSTEM) != primary.scalar(_SYSTEM):
            raise LookupError(f"{self._name} is a standby, but of another primary than the one named")


def feature_of(query: str) -> str | None:
    """The feature named by the leading comment of a query, as sqlcommenter writes it: `/*feature='x'*/ select ...`.

    Values are URL-encoded there, and a quote has a backslash before it. A comment elsewhere in the query says nothing:
    it may stand in data.
    """
    comment = _LEADING_COMMENT.match(query)
    pair = _FEATURE.search(comment.group(1)) if comment else None
    return unquote(pair.group(1).replace("\\'", "'")) if pair else None


def only_reads(query: str) -> bool:
    """Whether the text of a query shows that it reads, and does not show that it writes."""
    return _READING.match(query) is not None and _WRITING.search(query) is None


def _fits(session: Session, match: SessionMatch) -> bool:
    return match.feature in {None, session.feature} and session.age >= match.older_than


_LEADING_COMMENT = re.compile(r"\s*/\*(.*?)\*/", re.DOTALL)
_FEATURE = re.compile(r"(?:^|,)\s*feature='((?:[^'\\]|\\.)*)'")
_READING = re.compile(
    r"(?:\s|/\*(?:[^*]|\*(?!/))*\*/|--[^\n]*\n|\()*(?:select|with|table|values|fetch)\b", re.IGNORECASE
)
_WRITING = re.compile(r"\b(?:insert|update|delete|merge|into|nextval)\b", re.IGNORECASE)

_SHOWN: Final = ("pid", "started", "user", "application", "state", "age")
_WHY_HIDDEN: Final = "dr's role needs pg_read_all_stats, and track_activities must be on"

# Client sessions of this database that are not dr's own: what may be looked at and ended.
_CLIENTS: Final = """
    datname = current_database() and backend_type = 'client backend'
    and pid <> pg_backend_pid() and not starts_with(application_name, 'dr:')
"""
_STARTED: Final = """to_char(backend_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

# A session of another role has no backend_type for whoever may not see it; its application_name is always shown.
_SESSIONS: Final = f"""
    select backend_type is null or state = 'disabled', coalesce(query, ''),
           pid, coalesce({_STARTED}, ''), coalesce(usename::text, ''), application_name, coalesce(state, ''),
           greatest(coalesce(extract(epoch from clock_timestamp() - query_start), 0), 0)::float8
      from pg_stat_activity
     where {_CLIENTS.replace("backend_type =", "coalesce(backend_type, 'client backend') =")}
"""  # noqa: S608 - put together from constants
_TERMINATE: Final = f"""
    select count(*) filter (where pg_terminate_backend(pid))
      from pg_stat_activity join unnest(%s::int[], %s::text[]) as chosen (pid, started) using (pid)
     where started = {_STARTED} and {_CLIENTS}
"""  # noqa: S608 - put together from constants
_READS: Final = f"""
    select pid, query_start, query from pg_stat_activity
     where {_CLIENTS} and application_name = %s and query_start >= %s
"""  # noqa: S608 - put together from constants
_WAL_POSITION: Final = """
    select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end) - '0/0'
"""
_LAST_REPLAYED: Final = """
    select extract(epoch from coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))::float8
"""
# To whoever may not see its details the receiver shows no status.
_RECEIVERS: Final = "select count(*) from pg_stat_wal_receiver where coalesce(status, 'streaming') = 'streaming'"
# `reserved_connections` is there since PostgreSQL 16. Walsenders, which have a limit of their own, are in no database.
_CONNECTIONS: Final = """
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true), '0')::int,
           count(*), count(*) filter (where application_name = %s)
      from pg_stat_activity
     where coalesce(backend_type, 'client backend') = 'client backend' and datid is not null
"""
_SYSTEM: Final = "select system_identifier::text from pg_control_system()"
