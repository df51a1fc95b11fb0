"""A real PgBouncer in front of a pair, with two entries that reads take: `catalog_ro` and `search_ro`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from dr.demo import account, wait
from dr.demo.postgres import Pair, Server, free_port
from dr.demo.workspace import Workspace
from dr.targets.pgbouncer import PgbouncerReads

BINARY = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
APPLICATION = "shop-reads"

INI = """\
;; written by hand
[databases]
shop = host=127.0.0.1 port={primary} dbname=postgres user=postgres password='{password}'
; moved by dr:
catalog_ro = host=127.0.0.1  port={primary} dbname=postgres user=postgres password='{password}' application_name=x
search_ro=port={primary} dbname=postgres host='127.0.0.1' user=postgres password='{password}'

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = pgbouncer
pool_mode = transaction
; a login that PgBouncer takes for failed would hold its clients for an hour; they give up before that
server_login_retry = 3600
query_wait_timeout = 10
ignore_startup_parameters = extra_float_digits
"""


@dataclass(frozen=True)
class Bouncer:
    """The running PgBouncer: its ini, its port, and the pair behind it."""

    ini: Path
    port: int
    pair: Pair

    def config(self, *entries: str) -> PgbouncerReads:
        return PgbouncerReads(
            path=str(self.ini),
            console=f"127.0.0.1:{self.port}",
            entries=entries,
            primary="shop-primary",
            standby="shop-standby",
            primary_at=self._at(self.pair.primary),
            standby_at=self._at(self.pair.standby),
            application=APPLICATION,
        )

    def connect(self, entry: str) -> psycopg.Connection[tuple[object, ...]]:
        """A client of that entry."""
        dsn = f"host=127.0.0.1 port={self.port} dbname={entry} user=shop application_name={APPLICATION}"
        return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)

    @staticmethod
    def _at(server: Server) -> str:
        return f"127.0.0.1:{server.port}"


@contextmanager
def bouncer(pair: Pair) -> Iterator[Bouncer]:
    """A PgBouncer whose entries all point to the primary; the test is skipped where none is installed."""
    if BINARY is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with Workspace() as workspace:
        prefix = account.choose(workspace.directory).prefix
        ini, port = workspace.directory / "pgbouncer.ini", free_port()
        ini.write_text(INI.format(port=port, primary=pair.primary.port, password=pair.primary.password))
        process = workspace.spawn([*prefix, BINARY, ini], "pgbouncer.log")
        running = Bouncer(ini, port, pair)

        def accepts() -> bool:
            assert process.poll() is None, workspace.tail("pgbouncer.log")
            try:
                running.connect("shop").close()
            except psycopg.OperationalError:
                return False
            return True

        wait.until(accepts, 30, "PgBouncer accepts connections")
        yield running
