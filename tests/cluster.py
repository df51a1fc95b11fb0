"""Two real PostgreSQL servers behind a real PgBouncer, with clients that write: what a switchover is tried on.

The servers are started by pg_ctl and not by the test, as where dr is used; they end with their workspace all the same.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import psutil
import psycopg
import pytest

from dr.core.duration import encode_hook
from dr.demo import account, postgres, process_tree, wait
from dr.demo.postgres import Server, free_port
from dr.demo.workspace import Workspace
from dr.targets.pgbouncer_pool import PgbouncerPool
from dr.targets.postgresql_server import PostgresqlServer
from dr.targets.protocols import TargetConfig
from dr.targets.transport.pooled_server import PooledServer
from tests import data_directory
from tests.bouncer import BINARY
from tests.here import Secrets, opened
from tests.sshd import Fleet

LIMIT = 60.0
PR_SET_CHILD_SUBREAPER = 36
INI = """\
[databases]
shop = host=127.0.0.1 port={port} dbname=postgres user=postgres password='{password}'

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
admin_users = pgbouncer
pool_mode = transaction
default_pool_size = 5
server_login_retry = 0.1
query_wait_timeout = 30
ignore_startup_parameters = extra_float_digits
"""


class Node:
    """One server of the cluster, by its data directory: its process may be anybody's child."""

    def __init__(self, server: Server, who: account.Account, workspace: Workspace) -> None:
        self.name = server.name
        self._workspace = workspace
        prefix, programs, folder = who.prefix, who.binaries, workspace.directory
        self.server = server
        # Where it listens must not stand in its data directory, which a rewind makes a copy of the other's.
        listening = f"-p {server.port} -k {folder} -c wal_retrieve_retry_interval=100ms"
        self._start = (
            *prefix, f"{programs}/pg_ctl", "start", "--no-wait", "--silent", f"--pgdata={server.data}",
            f"--log={folder}/{server.name}.out", f"--options={listening}",
        )  # fmt: skip
        self.config = PostgresqlServer(
            dsn=f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres",
            password="env:PGTEST",
            data=str(server.data),
            programs=str(programs),
            prefix=prefix,
            start=self._start,
            replication=f"host={folder} port={server.port} user=postgres application_name={server.name}",
        )

    def process(self) -> psutil.Process | None:
        """Its postmaster; None when it is down."""
        try:
            return psutil.Process(int((self.server.data / "postmaster.pid").read_text().splitlines()[0]))
        except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
            return None

    def startup_process(self) -> psutil.Process:
        """The one that replays and, when it is told to, ends the recovery."""
        process = self.process()
        assert process is not None
        [found] = [child for child in process.children() if "startup" in " ".join(child.cmdline())]
        return found

    def surround(self, **variables: str) -> None:
        """From now on its programs, and those that it starts, have these variables, whoever runs them."""
        words = ("env", *(f"{name}={value}" for name, value in variables.items()))
        self._start = (*words, *self._start)
        self.config = msgspec.structs.replace(self.config, start=self._start, prefix=(*words, *self.config.prefix))

    @contextmanager
    def slow_to_recover(self, folder: Path) -> Iterator[Callable[[], None]]:
        """Started as a standby or from an archive, it waits for a WAL file until this is called.

        `folder` has a file `asked` as soon as it does.
        """
        gate = folder / "gate"
        folder.chmod(0o777)
        command = f": >{folder}/asked; until [ -e {gate} ]; do sleep 0.01; done; false"
        with self.server.connect() as connection:
            connection.execute(f"alter system set restore_command = '{command}'".encode())
        try:
            yield gate.touch
        finally:
            gate.touch()

    def back_up(self, folder: Path) -> None:
        """A backup of this server, as pg_basebackup makes it."""
        self.server.command(
            "pg_basebackup", "--pgdata", folder, "--checkpoint=fast", "--no-sync", "--dbname", self.server.dsn
        )  # fmt: skip

    def start(self) -> None:
        """As somebody does who knows nothing of dr."""
        self._workspace.run(self._start, f"{self.name}.log")
        wait.until(self.answers, LIMIT, f"{self.name} answers")

    def launch(self) -> None:
        """The same, whatever becomes of it: it may run already, or be shut down at this moment."""
        self._workspace.spawn(self._start, f"{self.name}.log").wait(LIMIT)

    def stop(self) -> None:
        """In order."""
        process = self.process()
        assert process is not None
        process.send_signal(signal.SIGINT)
        self.reap(process)

    def answers(self) -> bool:
        try:
            self.server.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As a crash does. Reaped at once: the dead one's process id would count as a running server's."""
        if process := self.process():
            process_tree.kill(process)
            self.reap(process)

    def reap(self, process: psutil.Process) -> None:
        """Wait until nothing is left of a process that was killed."""
        wait.until(lambda: reaped() or not process.is_running(), LIMIT, "the end of the server")

    def freeze(self) -> None:
        process = self.process()
        assert process is not None
        process_tree.freeze(process)

    def thaw(self) -> None:
        process = self.process()
        assert process is not None
        process_tree.thaw(process)

    def ask(self, query: str) -> Any:
        with self.server.connect() as connection:
            row = connection.execute(query).fetchone()
            return row and row[0]

    def writable(self) -> bool:
        """Whether it takes a write right now."""
        try:
            with self.server.connect() as connection:
                connection.execute("set statement_timeout = '5s'")
                connection.execute("insert into writes values (-1, '')")
                connection.execute("delete from writes where id = -1")
        except psycopg.Error:
            return False
        return True


class Cluster:
    """The two nodes, and PgBouncer before them; `shop` is where clients write."""

    def __init__(self, workspace: Workspace, nodes: tuple[Node, ...], ini: Path, port: int) -> None:
        self.workspace = workspace
        self.prefix: tuple[str, ...] = ()
        self.hosts: dict[str, TargetConfig] = {}
        """Where the servers and PgBouncer's ini are, if not here."""
        self.pool: psutil.Process
        self.first, self.second, *_ = nodes
        self.nodes = nodes
        self.port = port
        self.ini = ini

    @property
    def secrets(self) -> dict[str, str]:
        return {"env:PGTEST": self.first.server.password}

    def move_to(self, fleet: Fleet) -> None:
        """Start each server anew on a host of its own, reached over SSH; the last host has PgBouncer's ini."""
        *homes, last = fleet.hosts
        self.hosts["pool-host"] = fleet.group(hosts=(last.address,))
        for node, home in zip(self.nodes, homes, strict=True):
            node.stop()
            self.hosts[f"{node.name}-host"] = fleet.group(hosts=(home.address,))
            node.config = msgspec.structs.replace(node.config, ssh=f"{node.name}-host")
        for node in self.nodes:
            with opened(node.config, name=node.name, secrets=Secrets(self.secrets), targets=self.targets()) as server:
                server.start()

    def targets(self) -> dict[str, TargetConfig]:
        """As `dr.toml` would name them."""
        servers = tuple(PooledServer(server=node.name, at=f"127.0.0.1:{node.server.port}") for node in self.nodes)
        pool = PgbouncerPool(
            path=str(self.ini), console=f"127.0.0.1:{self.port}", entries=("shop",), servers=servers,
            ssh="pool-host" if self.hosts else None,
        )  # fmt: skip
        return {**{node.name: node.config for node in self.nodes}, **self.hosts, "pool": pool}

    def toml(self) -> str:
        """The same as a `dr.toml`."""
        return toml(self.targets())

    def start_pool(self) -> None:
        assert BINARY is not None
        process = self.workspace.spawn([*self.prefix, BINARY, self.ini], "pgbouncer.log")
        self.pool = psutil.Process(process.pid)

        def accepts() -> bool:
            assert process.poll() is None, self.workspace.tail("pgbouncer.log")
            try:
                with psycopg.connect(
                    f"host=127.0.0.1 port={self.port} dbname=pgbouncer user=pgbouncer", autocommit=True,
                    cursor_factory=psycopg.ClientCursor,
                ):  # fmt: skip
                    return True
            except psycopg.OperationalError:
                return False

        wait.until(accepts, LIMIT, "PgBouncer accepts connections")

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """A client of the pool."""
        dsn = f"host=127.0.0.1 port={self.port} dbname=shop user=shop application_name=shop connect_timeout=5"
        return psycopg.connect(dsn, autocommit=True, prepare_threshold=None, **parameters)

    def dsns(self) -> dict[str, str]:
        return {node.name: node.server.dsn for node in self.nodes}

    def ids(self, node: Node) -> set[int]:
        with node.server.connect() as connection:
            return {int(str(row[0])) for row in connection.execute("select id from writes").fetchall()}


class Served(Protocol):
    """Servers of which one takes writes."""

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """A client that writes to the primary."""
        ...

    def dsns(self) -> dict[str, str]:
        """How each server is reached by itself."""
        ...


class Writer:
    """A client that writes a row every few milliseconds and remembers which were acknowledged."""

    def __init__(self, cluster: Served, first: int = 0) -> None:
        self.acknowledged: set[int] = set()
        self.errors: list[str] = []
        self.gap = 0.0
        self.begun = first
        """The newest row that it asked for."""
        self.longest = 0.0
        """Seconds that one write took at most, whatever became of it."""
        self._cluster = cluster
        self._first = first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        wait.until(lambda: len(self.acknowledged) > 20, LIMIT, "the client writes")
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def goes_on(self) -> None:
        """Wait until more was written than before."""
        before = len(self.acknowledged)
        wait.until(lambda: len(self.acknowledged) > before + 5, LIMIT, "the client writes")

    def _write(self) -> None:
        number, last = self._first, time.monotonic()
        connection: psycopg.Connection[Any] | None = None
        while not self._over.wait(0.005):
            number += 1
            self.begun, began = number, time.monotonic()
            try:
                connection = connection or self._cluster.connect()
                connection.execute("insert into writes values (%s, 'x')", [number])
            except psycopg.Error as error:
                self.errors.append(str(error).strip())
                if connection is not None:
                    connection.close()
                connection = None
            else:
                now = time.monotonic()
                self.acknowledged.add(number)
                self.gap, last = max(self.gap, now - last), now
            self.longest = max(self.longest, time.monotonic() - began)
        if connection is not None:
            connection.close()


def reaped() -> bool:
    """Take what became of servers that have ended, this process being the one they are orphaned to; never True."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.name() in {"postgres", "pg_ctl"} and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
    return False


@contextmanager
def reaping() -> Iterator[None]:
    """Servers started by a process that has ended become this one's children: not every init takes care in time."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        reaped()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Watch:
    """Looks all the time whether two servers take writes at once."""

    def __init__(self, servers: Served) -> None:
        self.rounds = 0
        self.two_writable: list[str] = []
        self.turns: list[str] = []
        """Who took writes, one after the other. One that has handed over and takes writes again is there twice, also
        when its successor is down at that moment."""
        self._dsns = servers.dsns()
        self._open: dict[str, psycopg.Connection[Any]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait.until(lambda: self.rounds > 0, LIMIT, "a look at all servers")
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(LIMIT)
        if self._thread.is_alive():  # a server that a test froze, and did not get to thaw, is asked for ever
            assert error[0] is not None, "a server gives no answer"
            return
        for connection in self._open.values():
            connection.close()

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            for one, other in permutations(self._dsns, 2):
                # Asked before and after: the one took writes all the while that the other did.
                if self._writable(one) and self._writable(other) and self._writable(one):
                    self.two_writable.append(f"{one} and {other} in round {self.rounds}")
            self.rounds += 1

    def _writable(self, name: str) -> bool:
        try:
            if name not in self._open:
                # Known to the preflight as dr's own, so that it is not in the way.
                self._open[name] = psycopg.connect(
                    self._dsns[name], application_name="dr:watch", autocommit=True, connect_timeout=2
                )
            row = self._open[name].execute("select not pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            if name in self._open:
                self._open.pop(name).close()
            return False
        if writable := bool(row and row[0]):
            self.turns += [] if self.turns[-1:] == [name] else [name]
        return writable


@contextmanager
def cluster(standbys: int = 1, empty: int = 0, *, release: int = 18) -> Iterator[Cluster]:
    """A primary `db1`, its standbys `db2` and so on, servers without data, and PgBouncer (without it: skipped)."""
    if BINARY is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with reaping(), Workspace() as workspace:
        who = account.choose(workspace.directory)
        if release != 18:
            who = replace(who, binaries=release_16(who.binaries) if release == 16 else release_15())
        first = Server(workspace, who, "db1", data_directory.PASSWORD)
        data_directory.create(first, who, workspace)
        nodes = []
        for number in range(1 + standbys + empty):
            server = first.another(f"db{number + 1}") if number else first
            nodes.append(Node(server, who, workspace))
            if 0 < number <= standbys:
                postgres.copy(first, server)
            if number <= standbys:
                nodes[-1].start()
        with first.connect() as connection:
            connection.execute("create table writes (id int, what text)")
        wait.until(lambda: nodes[0].ask("select count(*) from pg_stat_replication") == standbys, LIMIT, "streaming")
        ini, port = workspace.directory / "pgbouncer.ini", free_port()
        ini.write_text(INI.format(port=first.port, password=first.password, listen=port))
        whole = Cluster(workspace, tuple(nodes), ini, port)
        whole.prefix = who.prefix
        whole.start_pool()
        yield whole


def toml(targets: Mapping[str, TargetConfig]) -> str:
    """The environment `test` of a `dr.toml` with these targets."""
    lines = []
    for name, config in targets.items():
        lines.append(f"[environments.test.targets.{name}]")
        for key, value in msgspec.to_builtins(config, enc_hook=encode_hook).items():
            if value not in (None, [], ()):
                lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def release_16(binaries: Path) -> Path:
    """PostgreSQL 16 beside 18: the wheel's pg_verifybackup of 18 crashes in the loader, whatever it is told."""
    found = binaries.parent.parent / "pginstall" / "bin"
    if not found.exists():
        pytest.skip("PostgreSQL 16 cannot be reached by the user that the servers run as")
    return found


def release_15() -> Path:
    """Debian's PostgreSQL, of which its pgBackRest knows."""
    found = Path("/usr/lib/postgresql/15/bin")
    if not (found / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not installed (Debian 12: apt-get install postgresql-15)")
    return found


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + "}"
    return msgspec.json.encode(value).decode()
