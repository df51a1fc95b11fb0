"""Two servers that repmgr switches over: Debian's package `postgresql-15-repmgr`, and an sshd between them.

As little as possible differs from the others' servers; but it is Debian's PostgreSQL, for which repmgr is built.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from dr.demo import wait
from dr.demo.postgres import SETTINGS, free_port
from dr.demo.workspace import Workspace

LIMIT = 60.0
PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SSHD = Path("/usr/sbin/sshd")
USER = "postgres"
MORE = {"shared_preload_libraries": "repmgr", "wal_retrieve_retry_interval": "100ms", "logging_collector": "on"}
NODE = """\
node_id={number}
node_name='{name}'
conninfo='host=127.0.0.1 port={port} user=postgres dbname=repmgr connect_timeout=5 passfile={folder}/pgpass'
data_directory='{folder}/{name}'
pg_bindir='{programs}'
repmgr_bindir='{programs}'
ssh_options='-q -F none -p {ssh} -i {folder}/key -o BatchMode=yes -o UserKnownHostsFile={folder}/known_hosts'
"""
SSHD_CONFIG = """\
ListenAddress 127.0.0.1:{ssh}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
SetEnv PGPASSFILE={folder}/pgpass
"""


class RepmgrCluster:
    """The nodes are `r1`, the primary at first, and `r2`."""

    def __init__(self, workspace: Workspace) -> None:
        self.ports = {"r1": free_port(), "r2": free_port()}
        self.primary, self.standby = "r1", "r2"
        self._password = secrets.token_hex(8)
        self._ssh = free_port()
        self._workspace = workspace
        self._folder = workspace.directory
        account = pwd.getpwnam(USER)
        root = os.geteuid() == 0
        identity = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
        self._prefix: tuple[str, ...] = ("setpriv", *identity) if root else ()
        self._owner = (account.pw_uid, account.pw_gid) if root else (os.getuid(), os.getgid())

    def dsns(self) -> dict[str, str]:
        own = f"host=127.0.0.1 user=postgres dbname=postgres password={self._password}"
        return {name: f"{own} port={port}" for name, port in self.ports.items()}

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """A client that finds the primary by itself."""
        ports = ",".join(map(str, self.ports.values()))
        own = f"user=postgres dbname=postgres password={self._password} connect_timeout=5"
        where = f"host=127.0.0.1,127.0.0.1 port={ports} target_session_attrs=read-write"
        return psycopg.connect(f"{where} {own}", autocommit=True, **parameters)

    def ids(self) -> set[int]:
        """The rows that the primary has."""
        with psycopg.connect(self.dsns()[self.primary]) as connection:
            return {int(row[0]) for row in connection.execute("select id from writes").fetchall()}

    def switch_over(self) -> None:
        self._run("repmgr", "--config-file", self._folder / f"{self.standby}.conf", "standby", "switchover")
        self.primary, self.standby = self.standby, self.primary

    def ready(self) -> None:
        """Wait until the standby streams again."""

        def streams() -> bool:
            with psycopg.connect(self.dsns()[self.primary]) as connection:
                return connection.execute("select state from pg_stat_replication").fetchall() == [("streaming",)]

        wait.until(streams, LIMIT, "repmgr's standby streams")

    def make(self) -> None:
        self._write("password", self._password)
        self._write("pgpass", f"127.0.0.1:*:*:postgres:{self._password}\n")
        self._start_sshd()
        for number, (name, port) in enumerate(self.ports.items(), 1):
            self._write(f"{name}.conf", NODE.format(
                number=number, name=name, port=port, folder=self._folder, programs=PROGRAMS, ssh=self._ssh,
            ))  # fmt: skip
        settings = {**SETTINGS, **MORE, "unix_socket_directories": str(self._folder)}
        options = [f"--set={name}={value}" for name, value in settings.items()]
        self._run("initdb", "--pgdata", self._folder / "r1", "--username=postgres", "--auth-local=trust",
                  "--auth-host=scram-sha-256", f"--pwfile={self._folder}/password", "--no-sync", "--locale=C",
                  "--encoding=UTF8")  # fmt: skip
        configuration = self._folder / "r1" / "postgresql.conf"
        lines = [option.removeprefix("--set=").replace("=", " = '", 1) + "'" for option in options]
        configuration.write_text(configuration.read_text() + "\n".join(lines) + "\n")
        self._start("r1")
        with psycopg.connect(self.dsns()["r1"], autocommit=True) as connection:
            connection.execute("create database repmgr")
            connection.execute("create table writes (id int, what text)")
        self._run("repmgr", "--config-file", self._folder / "r1.conf", "primary", "register")
        clone = ("--host=127.0.0.1", f"--port={self.ports['r1']}", "--username=postgres", "--dbname=repmgr")
        self._run("repmgr", *clone, "--config-file", self._folder / "r2.conf", "standby", "clone", "--fast-checkpoint")
        self._start("r2")
        self._run("repmgr", "--config-file", self._folder / "r2.conf", "standby", "register", "--wait-sync")
        self.ready()

    def _start(self, name: str) -> None:
        configuration = self._folder / name / "postgresql.conf"
        configuration.write_text(f"{configuration.read_text()}port = {self.ports[name]}\n")
        self._run("pg_ctl", "start", "--wait", "--silent", "--pgdata", self._folder / name)

    def _start_sshd(self) -> None:
        for key in ("key", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / key], check=True)
            os.chown(self._folder / key, *self._owner)
        kind, public, *_ = (self._folder / "host_key.pub").read_text().split()
        self._write("known_hosts", f"[127.0.0.1]:{self._ssh} {kind} {public}\n")
        self._write("sshd_config", SSHD_CONFIG.format(ssh=self._ssh, folder=self._folder))
        self._workspace.spawn([*self._prefix, SSHD, "-D", "-e", "-f", self._folder / "sshd_config"], "sshd.log")

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)
        (self._folder / name).chmod(0o600)
        os.chown(self._folder / name, *self._owner)

    def _run(self, program: str, *arguments: str | Path) -> None:
        password = f"PGPASSFILE={self._folder}/pgpass"
        self._workspace.run([*self._prefix, "env", password, PROGRAMS / program, *arguments], f"{program}.log")


@contextmanager
def repmgr_cluster() -> Iterator[RepmgrCluster]:
    """The two servers, replicating. Raises LookupError: a program is not installed."""
    missing = [str(path) for path in (PROGRAMS / "repmgr", SSHD) if not path.exists()]
    if missing or shutil.which("ssh-keygen") is None:
        raise LookupError(f"not installed: {', '.join(missing) or 'ssh-keygen'} (Debian: postgresql-15-repmgr)")
    with Workspace() as workspace:
        cluster = RepmgrCluster(workspace)
        os.chown(workspace.directory, *cluster._owner)  # noqa: SLF001 - its own module
        cluster.make()
        yield cluster
