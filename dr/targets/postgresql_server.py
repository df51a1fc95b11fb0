"""A PostgreSQL server with its process and its data directory: what a role change needs beside SQL.

It can be opened while the server is down. SQL is connected when it is first needed, and anew after a stop.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import Opening, Refused, TargetConfig, TargetUnreachable
from dr.targets.switching import DatabaseServer, Pulse, Replay, Situation
from dr.targets.transport import fresh_directory, logins, rewound_directory, wal_archive
from dr.targets.transport import server_sql as sql
from dr.targets.transport.data_directory import Commands, Control, DataDirectory
from dr.targets.transport.dsn import Dsn, check_dsn
from dr.targets.transport.fresh_directory import AbsolutePath, Backup
from dr.targets.transport.program import HostName, Programs, programs_on

if TYPE_CHECKING:
    from dr.targets.transport.libpq import Client

POLL: Final = 0.001
"""pg_promote(true) would look ten times a second."""
START_POLL: Final = 0.01
LAST: Final = 0.02
"""Seconds before a deadline in which nothing is asked any more: what was waited for tells more than a lost answer."""
QUICK: Final = 2.0
"""Seconds in which a server that is being started must answer one question; it is asked again and again."""
GRACE: Final = 2.0
"""Seconds in which a server that was told to start must be there."""

Command = Annotated[tuple[str, ...], msgspec.Meta(max_length=50)]


class PostgresqlServer(TargetConfig, frozen=True, tag="postgresql-server"):
    """A PostgreSQL server that dr may stop, start, fence and promote."""

    speaks: ClassVar[tuple[str, ...]] = ("DatabaseServer",)

    dsn: Dsn
    """A libpq connection string or URI without a password, or a reference to one (which may hold it)."""
    data: AbsolutePath
    """Its data directory, on its own host."""
    programs: AbsolutePath
    """The folder of PostgreSQL's programs, on its own host."""
    replication: Annotated[str, msgspec.Meta(min_length=1)]
    """How a standby connects to it: a connection string without a password, for which the standby has its .pgpass."""
    prefix: Command = ()
    """Put before each command: `["sudo", "-u", "postgres"]`. It must pass arguments on as they are, as ssh does not."""
    start: Command = ()
    """Starts it and returns, in place of `pg_ctl start`: where a service manager runs it. Run without the prefix."""
    stop: Command = ()
    """Shuts it down in order, ending its sessions, in place of `pg_ctl stop`. Run without the prefix."""
    password: SecretRef | None = None
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where it runs, if that is another machine."""
    backup: Backup | None = None
    """What it can be restored from."""

    def __post_init__(self) -> None:
        check_dsn("dsn", self.dsn)
        check_dsn("replication", self.replication)
        check_reference("password", self.password)


def open_target(config: PostgresqlServer, opening: Opening) -> "PostgresqlDatabaseServer":
    """Nothing is reached yet: the server may be down, or its host.

    Raises:
        TargetUnreachable: the group of hosts is not one host, or its key cannot be read.
    """
    return PostgresqlDatabaseServer(config, opening, programs_on(config.ssh, opening, config.data))


class PostgresqlDatabaseServer:
    """A DatabaseServer."""

    def __init__(self, config: PostgresqlServer, opening: Opening, programs: Programs) -> None:
        self.replication = config.replication
        commands = Commands(
            data=config.data, programs=config.programs, prefix=config.prefix, start=config.start, stop=config.stop
        )
        self._directory = DataDirectory(opening.name, commands, programs, time.monotonic() + opening.timeout)
        self._config = config
        self._opening = opening
        self._client: Client | None = None

    def ping(self) -> None:
        """Its data directory can be read; that the server runs is not asked for."""
        self._directory.control()

    def close(self) -> None:
        self._hang_up()
        self._directory.close()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def keep_within(self, seconds: float) -> None:
        self._directory.deadline = time.monotonic() + seconds
        if self._client is not None:
            self._client.keep_within(seconds)

    def take_over(self) -> None:
        self._directory.take_over()

    def situation(self) -> Situation:
        try:
            control = self._directory.control()
        except TargetUnreachable:
            if self._directory.absent():
                return "absent"
            raise
        if not control.clean and self._directory.running():
            try:
                [(standby,)] = self._rows("select pg_is_in_recovery()")
            except TargetUnreachable as error:
                if sql.pulse_of(error) == "starting" and self._directory.started_fenced():
                    return "recovering"
                raise
            return "standby" if standby else "writable"
        if self._directory.fenced():
            return "fenced"
        return "stopped" if control.clean else "crashed"

    def pulse(self) -> Pulse:
        self._hang_up()
        try:
            self._rows("select 1")
        except TargetUnreachable as error:
            return sql.pulse_of(error)
        return "answers"

    def heard(self) -> float | None:
        rows = self._rows(sql.HEARD)
        return float(rows[0][0]) if rows else None

    def received(self) -> tuple[int, int]:
        [(timeline, position)] = self._rows(sql.RECEIVED)
        return int(timeline), int(position)

    def seconds(self, query: str) -> float:
        return sql.seconds_in(self._sql().first(query), self._opening.name)

    def obstacles(self, to: Literal["primary", "standby"]) -> tuple[str, ...]:
        if to == "primary":
            return tuple(str(why) for (why,) in self._rows(sql.NO_PRIMARY))
        found = [str(why) for (why,) in self._rows(sql.NO_STANDBY)]
        if self._directory.fenced():
            found.append("its next start would make it a standby already: there is a standby.signal")
        return tuple(found)

    def room(self) -> int:
        [(room,)] = self._rows(sql.ROOM)
        return int(room)

    def backends_of(self, applications: Collection[str]) -> frozenset[int]:
        return frozenset(int(pid) for (pid,) in self._rows(sql.BACKENDS, [list(applications)]))

    def sessions_besides(self, pids: Collection[int], applications: Collection[str]) -> tuple[str, ...]:
        return tuple(str(words) for (words,) in self._rows(sql.OTHERS, [list(pids), list(applications)]))

    def oldest_transaction(self) -> float:
        [(age,)] = self._rows(sql.OLDEST)
        return float(age)

    def follows(self, primary: DatabaseServer) -> bool:
        [(streams,)] = self._rows(sql.STREAMS)
        return bool(streams) and self.origin() == primary.origin()

    def origin(self) -> tuple[str, int]:
        [(system, timeline)] = self._rows(sql.ORIGIN)
        return str(system), int(timeline)

    def position(self) -> int:
        [(position,)] = self._rows(sql.POSITION)
        return int(position)

    def catch_up(self, position: int) -> None:
        while self.position() < position:
            self._wait(POLL, "did not replay what its primary had written")

    def checkpoint(self) -> None:
        """On a standby it is a restart point."""
        self._command("checkpoint")

    def stop(self) -> int:
        self._hang_up()
        return _behind_the_last_record(self._directory.stop())

    def prepare_stop(self) -> None:
        self._directory.prepare_stop()

    def stop_and_fence(self) -> int:
        self._hang_up()
        return _behind_the_last_record(self._directory.stop_and_fence())

    def start(self) -> None:
        self._hang_up()
        self._directory.start()
        began = time.monotonic()
        while not self._answers():
            if time.monotonic() - began > GRACE and not self._directory.running():
                raise Refused(f"{self._opening.name} ended right after its start; its own log says why")
            self._wait(START_POLL, "does not answer after its start")

    def halt(self) -> None:
        self._hang_up()
        self._directory.halt()

    def wake(self) -> None:
        """A start refuses, by its own check, where a process of an earlier one still has the shared memory."""
        self._directory.start()
        began = time.monotonic()
        while not self._directory.running():
            if time.monotonic() - began > GRACE:
                raise Refused(f"{self._opening.name} does not start; its own log says why")
            self._wait(START_POLL, "does not start")

    def fence(self) -> None:
        self._directory.fence()

    def unfence(self) -> None:
        self._directory.unfence()

    def still_in(self, keep: Collection[str]) -> tuple[str, ...]:
        return logins.still_in(self._rows, keep)

    def keep_out(self, keep: Collection[str]) -> None:
        logins.keep_out(self._rows, self._command, keep)

    def promote(self) -> None:
        if self._is_standby():
            self._rows("select pg_promote(false)")
        while self._is_standby():
            self._wait(POLL, "did not become writable")
        # Where a restore was held stands in the settings that every copy of this server gets: each would stop there.
        [(has_target,)] = self._rows(sql.HAS_TARGET)
        if has_target:
            self._command(sql.FORGET_TARGET)
        logins.let_in(self._rows, self._command)

    def follow(self, upstream: str) -> None:
        [(literal,)] = self._rows("select quote_literal(%s)", [upstream])
        self._command(f"alter system set primary_conninfo = {literal}")
        self._rows("select pg_reload_conf()")

    def rewind(self, upstream: str) -> None:
        self._hang_up()
        rewound_directory.rewind(self._directory, upstream)

    def copy(self, upstream: str, owner: str) -> None:
        self._hang_up()
        fresh_directory.copy(self._directory, upstream, owner)

    def backup(self, until: str) -> str:
        return fresh_directory.chosen(self._directory, self._backup(), until)

    def restore(self, owner: str, until: str, tell: Callable[[str], None]) -> Mapping[str, str]:
        backup = self._backup()
        self._hang_up()
        return fresh_directory.restore(self._directory, backup, owner, until, tell)

    def _backup(self) -> fresh_directory.Backup:
        if self._config.backup is None:
            raise Refused(f"{self._opening.name} has no `backup` in dr.toml")
        return self._config.backup

    def replay(self) -> Replay:
        command = self._config.backup.wal if self._config.backup else ""
        return wal_archive.replay(self._directory, command, self._rows)

    def restored(self) -> str:
        return fresh_directory.restored(self._directory)

    def claim(self, owner: str) -> None:
        self._directory.claim(owner)

    def claimed(self) -> str:
        return self._directory.claimed()

    def disclaim(self) -> None:
        self._directory.disclaim()

    def _is_standby(self) -> bool:
        [(standby,)] = self._rows("select pg_is_in_recovery()")
        return bool(standby)

    def _answers(self) -> bool:
        """Asked with little patience: a server that is starting may accept and say nothing yet."""
        try:
            self._sql(QUICK)
        except TargetUnreachable:
            return False
        return True

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        client = self._sql()
        try:
            return client.rows(query, values)
        except TargetUnreachable:
            self._hang_up()
            raise

    def _command(self, text: str) -> None:
        client = self._sql()
        try:
            client.command(text)
        except TargetUnreachable:
            self._hang_up()
            raise

    def _sql(self, at_most: float = float("inf")) -> "Client":
        from dr.targets.transport import libpq

        left = self._left()
        if self._client is None:
            config, patience = self._config, min(left, at_most)
            self._client = libpq.login(self._opening, config.dsn, config.password, patience=patience)
            self._client.keep_within(left)
        return self._client

    def _left(self) -> float:
        return max(0.001, self._directory.deadline - time.monotonic())

    def _wait(self, seconds: float, why: str) -> None:
        """Raises TargetUnreachable: the deadline has come, or leaves no time for another question."""
        if self._left() < seconds + LAST:
            raise TargetUnreachable(f"{self._opening.name} {why} in time")
        time.sleep(seconds)


def _behind_the_last_record(control: Control) -> int:
    """A position that is replayed only when the record of the shutdown is: `position` is where that begins."""
    return control.position + 1
