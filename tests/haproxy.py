"""A real HAProxy in front of a pair: its backend `reads` has the servers `first` (the primary) and `second`."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from dr.demo import wait
from dr.demo.postgres import Pair, free_port
from dr.demo.workspace import Workspace
from dr.targets.haproxy import HaproxyReads, HaproxyTraffic

BINARY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
APPLICATION = "shop-reads"
SERVERS: dict[str, Any] = {"backend": "reads", "primary_server": "first", "standby_server": "second"}

CONFIGURATION = """\
global
    stats socket {folder}/api.sock level admin mode 600
    stats socket ipv4@127.0.0.1:{api} level admin
    stats socket {folder}/user.sock level user mode 600
    server-state-file {folder}/state
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    load-server-state-from-file global
listen reads
    bind 127.0.0.1:{port}
    server first 127.0.0.1:{primary} weight 100 check inter 50ms
    server second 127.0.0.1:{standby} weight 0 check inter 50ms
    {more}
listen pages
    bind 127.0.0.1:{pages}
    server one 127.0.0.1:{primary}
"""


@dataclass(frozen=True)
class Haproxy:
    """The running HAProxy: its folder, its ports, and the pair behind it."""

    folder: Path
    port: int
    api: int
    pair: Pair

    @property
    def state_file(self) -> Path:
        return self.folder / "state"

    def config(self, **changes: Any) -> HaproxyReads:
        given: dict[str, Any] = {"primary": "primary", "standby": "standby", "application": APPLICATION, **SERVERS}
        return HaproxyReads(**{"socket": str(self.folder / "api.sock"), **given, **changes})

    def traffic(self, **changes: Any) -> HaproxyTraffic:
        """The same as a router of users."""
        return traffic(self.folder, **changes)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A client that reads through it."""
        dsn = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres password={self.pair.primary.password}"
        return psycopg.connect(f"{dsn} application_name={APPLICATION}", autocommit=True)

    def reload(self) -> None:
        """Take the configuration anew, in a new worker process, and return when the old one is gone.

        SIGUSR2 was rejected: one that comes right after the start is lost.
        """
        before = self._worker()
        with socket.socket(socket.AF_UNIX) as master:
            wait.until(lambda: master.connect_ex(str(self.folder / "master.sock")) == 0, 30, "the master answers")
            master.sendall(b"reload\n")
            while master.recv(65_536):
                pass
        wait.until(lambda: self._worker() not in {before, 0}, 30, "HAProxy has reloaded")
        wait.until(lambda: not psutil.pid_exists(before), 30, "the worker before it has ended")

    def ask(self, command: str) -> str:
        """What the Runtime API answers, asked without dr."""

        with socket.create_connection(("127.0.0.1", self.api)) as connection:
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()

    def _worker(self) -> int:
        """The process that answers; 0 when none does."""
        try:
            said = re.search(r"^Pid: (\d+)$", self.ask("show info"), re.MULTILINE)
        except OSError:
            return 0
        return int(said.group(1)) if said else 0


def traffic(folder: Path, **changes: Any) -> HaproxyTraffic:
    """A router of users between the two servers of the HAProxy in that folder."""
    return HaproxyTraffic(**{"socket": str(folder / "api.sock"), **SERVERS, **changes})


@contextmanager
def haproxy(pair: Pair, *more: str) -> Iterator[Haproxy]:
    """An HAProxy that sends all reads to the primary; the test is skipped where none is installed.

    `more` are lines of the backend.
    """
    api = free_port()
    with started(pair.primary.port, pair.standby.port, *more, api=api) as (folder, port):
        running = Haproxy(folder, port, api, pair)

        def accepts() -> bool:
            try:
                running.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        wait.until(accepts, 30, "HAProxy accepts connections")
        yield running


@contextmanager
def started(first: int, second: int, *more: str, api: int | None = None) -> Iterator[tuple[Path, int]]:
    """An HAProxy between two ports, all to the first one; its folder and its own port, which accepts."""
    if BINARY is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with Workspace() as workspace:
        folder, port = workspace.directory, free_port()
        (folder / "state").touch()
        text = CONFIGURATION.format(
            folder=folder,
            port=port,
            api=api or free_port(),
            pages=free_port(),
            primary=first,
            standby=second,
            more="\n    ".join(more),
        )
        (folder / "haproxy.cfg").write_text(text)
        master = workspace.spawn(
            [BINARY, "-W", "-db", "-S", folder / "master.sock", "-f", folder / "haproxy.cfg"], "haproxy.log"
        )

        def accepts() -> bool:
            assert master.poll() is None, workspace.tail("haproxy.log")
            with socket.socket() as client, socket.socket(socket.AF_UNIX) as asked:
                door = client.connect_ex(("127.0.0.1", port))
                return not door and not asked.connect_ex(str(folder / "api.sock"))

        wait.until(accepts, 30, "HAProxy accepts connections")
        yield folder, port
