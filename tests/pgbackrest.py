"""A stanza of the real pgBackRest: a primary that archives into its repository, which is a folder of this machine."""

import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from dr.demo import wait
from dr.targets.transport.fresh_directory import Backup
from tests.cluster import LIMIT, Cluster, Node
from tests.readme import shown_as

BINARY = shutil.which("pgbackrest")
# As /etc/pgbackrest.conf is on the host of each server: the repository is shared, the data directory is its own.
CONFIGURATION = """\
[global]
repo1-path={repository}
repo1-retention-full=1
lock-path={folder}/locks-{name}
spool-path={folder}/spool-{name}
log-level-file=off
start-fast=y
job-retry=0
[shop]
pg1-path={data}
pg1-socket-path={folder}
pg1-port={port}
pg1-user=postgres
"""


class Stanza:
    """The stanza `shop` of the primary `first`, from whose repository `second` can be restored."""

    def __init__(self, servers: Cluster) -> None:
        """Raises pytest's Skipped: pgBackRest is not installed."""
        if BINARY is None:
            pytest.skip("pgbackrest is not installed (Debian: apt-get install pgbackrest)")
        self.servers = servers
        self.repository = servers.workspace.directory / "repository"
        for node in (servers.first, servers.second):
            node.surround(PGBACKREST_CONFIG=str(self._configure(node, self.repository)))

    def create(self) -> None:
        """From now on the primary archives."""
        first = self.servers.first
        with first.server.connect() as primary:
            primary.execute("alter system set archive_mode = 'on'")
        self.archive_by("pgbackrest --stanza=shop archive-push %p")
        first.kill()
        first.start()
        self.run("stanza-create")

    def archive_by(self, command: str) -> None:
        with self.servers.first.server.connect() as primary:
            primary.execute(f"alter system set archive_command = '{command}'")
            primary.execute("select pg_reload_conf()")

    def archive_all(self) -> None:
        """Have everything that was written archived, and wait for that."""
        first = self.servers.first
        last = first.ask("select pg_walfile_name(pg_switch_wal())")
        archived = "select coalesce(last_archived_wal, '') >= %s from pg_stat_archiver"
        with first.server.connect() as primary:
            wait.until(lambda: primary.execute(archived, [last]).fetchone() == (True,), LIMIT, "the archive has it all")

    def run(self, *arguments: str) -> None:
        """pgBackRest beside the primary."""
        first = self.servers.first
        words = [*first.config.prefix, "pgbackrest", "--stanza=shop", *arguments]
        self.servers.workspace.run(words, "pgbackrest.log")

    def restore_from(self, repository: Path) -> None:
        """Have `second` know that repository for the stanza's."""
        self._configure(self.servers.second, repository)

    def segments(self, repository: Path) -> list[Path]:
        """The WAL files in a repository, the oldest first."""
        return sorted(path for path in repository.glob("archive/shop/*/*/*-*") if "backup" not in path.name)

    def _configure(self, node: Node, repository: Path) -> Path:
        folder = self.servers.workspace.directory
        file = folder / f"{node.name}.pgbackrest.conf"
        text = CONFIGURATION.format(
            repository=repository, folder=folder, name=node.name, data=node.server.data, port=node.server.port
        )
        file.write_text(text, encoding="utf-8")
        return file


def as_in_the_readme() -> Backup:
    """What the README's `dr.toml` says of db2's backup."""
    shown = tomllib.loads(shown_as("pgbackrest", "toml"))
    return msgspec.convert(shown["environments"]["production"]["targets"]["db2"]["backup"], Backup)
