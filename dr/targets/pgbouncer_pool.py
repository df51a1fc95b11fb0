"""PgBouncer as the pool that holds an application's writes while its primary changes.

The ini is edited for the same reason as in `pgbouncer.py`. PAUSE outlives the console session that asked for it, so a
dr that is killed leaves clients waiting; `query_wait_timeout` is therefore lowered first, and PgBouncer itself ends
their wait. RELOAD sets it back to what the ini says.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.pools import PoolState
from dr.targets.protocols import LocalPath, Opening, Refused, TargetConfig, TargetUnreachable
from dr.targets.switching import DatabaseServer
from dr.targets.transport.dsn import Address
from dr.targets.transport.pgbouncer_ini import Entry, leading_to, point
from dr.targets.transport.pooled_server import PooledServer
from dr.targets.transport.program import HostName
from dr.targets.transport.textfile import file_on

if TYPE_CHECKING:
    from dr.targets.transport.libpq import Client

WAIT: Final = "query_wait_timeout"


class PgbouncerPool(TargetConfig, frozen=True, tag="pgbouncer-pool"):
    """Entries of a PgBouncer that take an application's writes to the primary."""

    speaks: ClassVar[tuple[str, ...]] = ("ConnectionPool", "ServerGate")

    path: LocalPath
    """PgBouncer's ini."""
    console: Address
    """Where PgBouncer listens."""
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(min_length=1, max_length=50)]
    """The [databases] entries that follow the primary."""
    servers: Annotated[tuple[PooledServer, ...], msgspec.Meta(min_length=2, max_length=20)]
    """The servers that can be the primary, and where PgBouncer reaches them."""
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where the ini is, if that is another machine."""
    user: str = "pgbouncer"
    """A user of PgBouncer's `admin_users`."""
    password: SecretRef | None = None

    def __post_init__(self) -> None:
        for seen in ([item.server for item in self.servers], [item.at for item in self.servers]):
            if len(set(seen)) < len(seen):
                raise ValueError("servers: two of them are the same")
        check_reference("password", self.password)


def open_target(config: PgbouncerPool, opening: Opening) -> "PgbouncerConnectionPool":
    """Connect to the admin console. Raises TargetUnreachable."""
    pool = PgbouncerConnectionPool(config, opening)
    try:
        pool.ping()
    except BaseException:
        pool.close()
        raise
    return pool


class PgbouncerConnectionPool:
    """A ConnectionPool and a ServerGate. After a call that was not answered the console is connected anew."""

    def __init__(self, config: PgbouncerPool, opening: Opening) -> None:
        self._config = config
        self._opening = opening
        self._deadline = time.monotonic() + opening.timeout
        self._file = file_on(config.ssh, opening, config.path)
        self._client: Client | None = None
        self._wait = 0

    def ping(self) -> None:
        self.state()

    def close(self) -> None:
        self._hang_up()
        self._file.close()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def keep_within(self, seconds: float) -> None:
        self._deadline = self._file.deadline = time.monotonic() + seconds
        if self._client is not None:
            self._client.keep_within(seconds)

    def state(self) -> PoolState:
        """What is in force, as the console says: the ini may have been edited and not reloaded."""
        entries = self._entries()
        at = {f"{entry['host']}:{entry['port']}" for entry in entries}
        server = next((item.server for item in self._config.servers if {item.at} == at), "")
        return PoolState(server=server, paused=any(entry["paused"] for entry in entries))

    def obstacles(self) -> tuple[str, ...]:
        found = []
        try:
            point(self._file.read(), dict.fromkeys(self._config.entries, self._config.servers[0].at))
        except (TargetUnreachable, LookupError) as error:
            found.append(str(error))
        default = self._setting("pool_mode")
        for entry in self._entries():
            if (entry["pool_mode"] or default) == "session":
                found.append(f"{entry['name']} pools sessions: a pause would wait for each client to leave")
            if entry["disabled"]:
                found.append(f"{entry['name']} is disabled")
        return tuple(found)

    def backends(self, primary: DatabaseServer) -> frozenset[int]:
        servers = self._records("SHOW SERVERS")
        return frozenset(int(one["remote_pid"]) for one in servers if one["database"] in self._config.entries)

    def pause(self, give_up: float) -> None:
        before = float(self._setting(WAIT))
        self._wait = max(1, math.ceil(min(give_up, before) if before else give_up))
        self._command(f"SET {WAIT} = {self._wait}")
        for entry in self._config.entries:
            self._command(f"PAUSE {entry}")

    def drop(self) -> None:
        for entry in self._config.entries:
            self._command(f"KILL {entry}")

    def resume(self) -> None:
        for entry in self._entries():
            if entry["paused"]:
                self._command(f"RESUME {entry['name']}")
        self._command("RELOAD")

    def prepare_repoint(self, server: str) -> None:
        wanted = self._wanted(server)
        self._file.prepare(lambda text: point(text, wanted))

    def repoint(self, server: str) -> None:
        wanted = self._wanted(server)
        self._file.rewrite(lambda text: point(text, wanted))
        self._command("RELOAD")
        if self._wait:  # as long as clients are held, that stays limited
            self._command(f"SET {WAIT} = {self._wait}")

    def ways_to(self, server: str) -> tuple[str, ...]:
        """Entries that lead there, by the ini or in force, and sessions.

        Raises:
            Refused: there is one that is not among `entries`, so dr does not touch it.
        """
        name, at = self._opening.name, self._at(server)
        in_force = {row["name"] for row in self._records("SHOW DATABASES") if f"{row['host']}:{row['port']}" == at}
        try:
            leading = leading_to(self._file.read(), at) | in_force
        except LookupError as error:
            raise Refused(f"{name}: {error}") from None
        if others := sorted(leading - set(self._config.entries)):
            raise Refused(f"{name}: {', '.join(others)} of PgBouncer's [databases] leads to {server}, too")
        entries = [f"the entry {entry} of {name}" for entry in sorted(leading)]
        return (*entries, *(f"a session of {entry} at {name}" for entry in sorted(self._entries_with_sessions(at))))

    def prepare_shut(self, server: str) -> None:
        self._file.prepare(self._past(server))
        self._command(f"SET {WAIT} = {self._setting(WAIT)}")  # changes nothing, and is refused to who may only look

    def shut(self, server: str) -> None:
        """A restart takes the entries from the ini, so they lead to another server there, too."""
        at = self._at(server)
        self._file.rewrite(self._past(server))
        self._command("RELOAD")
        for entry in self._entries_with_sessions(at):  # so its clients are not held
            self._command(f"KILL {entry}")
            self._command(f"RESUME {entry}")

    def _past(self, server: str) -> Callable[[str], str]:
        """The change of an ini that makes entries lead past the server."""
        at = self._at(server)
        elsewhere = next(item.at for item in self._config.servers if item.at != at)
        return lambda text: point(text, dict.fromkeys(leading_to(text, at), elsewhere))

    def _entries_with_sessions(self, at: str) -> set[str]:
        """After a RELOAD, a session with where an entry led before is to be closed as soon as its transaction ends."""
        return {
            row["database"]
            for row in self._records("SHOW SERVERS")
            if f"{row['addr']}:{row['port']}" == at or (row["close_needed"] and row["database"] in self._config.entries)
        }

    def _at(self, server: str) -> str:
        at = next((item.at for item in self._config.servers if item.server == server), None)
        if at is None:
            raise LookupError(f"{self._opening.name} knows no server {server}")
        return at

    def _wanted(self, server: str) -> dict[str, str]:
        """Where each entry leads then."""
        return dict.fromkeys(self._config.entries, self._at(server))

    def _entries(self) -> list[dict[str, Any]]:
        found = {row["name"]: row for row in self._records("SHOW DATABASES")}
        missing = [entry for entry in self._config.entries if entry not in found]
        if missing:
            raise TargetUnreachable(f"{self._opening.name}: PgBouncer has no entry {', '.join(missing)}")
        return [found[entry] for entry in self._config.entries]

    def _setting(self, key: str) -> str:
        [value] = [row["value"] for row in self._records("SHOW CONFIG") if row["key"] == key]
        return str(value)

    def _records(self, query: str) -> list[dict[str, Any]]:
        client = self._console()
        try:
            return client.records(query)
        except TargetUnreachable:
            self._hang_up()
            raise

    def _command(self, text: str) -> None:
        client = self._console()
        try:
            client.command(text)
        except TargetUnreachable:
            self._hang_up()
            raise

    def _console(self) -> "Client":
        from dr.targets.transport import libpq

        if self._client is None:
            host, port = self._config.console.rsplit(":", 1)
            parameters = {"host": host, "port": port, "user": self._config.user, "dbname": "pgbouncer"}
            if self._config.password is not None:
                parameters["password"] = self._opening.secret(self._config.password)
            left = max(0.001, self._deadline - time.monotonic())
            opening = msgspec.structs.replace(self._opening, timeout=left)
            self._client = libpq.connect(opening, parameters, simple=True)
        return self._client
