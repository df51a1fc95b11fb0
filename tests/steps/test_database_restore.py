"""Real backups of a real server, restored into one that has no data, or other data."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.demo import wait
from dr.steps.database_restore import DatabaseRestore
from dr.targets.postgresql_server import PostgresqlServer
from dr.targets.protocols import Refused
from dr.targets.transport.fresh_directory import Backup
from tests.cluster import LIMIT, Cluster, cluster
from tests.here import World

STEP = DatabaseRestore(server="db2")


class Site:
    """A server `db1` with its backups and its archive, and `db2`, which has no data."""

    def __init__(self, servers: Cluster) -> None:
        self.servers = servers
        self.first, self.second = servers.first, servers.second
        self.folder = servers.workspace.directory / "backups"
        self.data = self.second.server.data
        servers.workspace.run([*servers.prefix, "mkdir", self.folder], "mkdir.log")
        self.take("2026-01-01")

    def take(self, name: str) -> Path:
        self.first.back_up(self.folder / name)
        return self.folder / name

    def insert(self, number: int) -> None:
        with self.first.server.connect() as primary:
            primary.execute("insert into writes values (%s, 'x')", [number])

    def world(self, **backup: object) -> World:
        source = msgspec.convert(backup or {"folder": str(self.folder)}, Backup)
        config = msgspec.structs.replace(self.second.config, backup=source)
        return World({**self.servers.targets(), "db2": config}, self.servers.secrets)

    def restore(self, **backup: object) -> dict[str, object]:
        with self.world(**backup).act(60) as here:
            assert isinstance(STEP.observe(here), NotInPlace)
            facts = dict(STEP.apply(here))
            STEP.apply(here)
            assert isinstance(STEP.observe(here), InPlace)
        return facts


@pytest.fixture
def site() -> Iterator[Site]:
    with cluster(standbys=0, empty=1, release=16) as servers:
        yield Site(servers)


def test_the_newest_backup_that_is_complete_is_restored_and_takes_no_write(site: Site) -> None:
    site.insert(1)
    newest = site.take("2026-01-02")
    site.insert(2)
    (site.take("2026-01-03") / "backup_manifest").unlink()
    facts = site.restore()
    assert facts["backup"] == str(newest)
    assert str(facts["begun"]).startswith("20")
    assert site.servers.ids(site.second) == {1}
    assert not site.second.writable()
    assert site.first.writable()


def test_what_was_archived_since_the_backup_is_replayed(site: Site) -> None:
    archive = site.folder.with_name("archive")
    site.servers.workspace.run([*site.servers.prefix, "mkdir", archive], "mkdir.log")
    with site.first.server.connect() as primary:
        primary.execute("alter system set archive_mode = 'on'")
        primary.execute(f"alter system set archive_command = 'cp %p {archive}/%f'")
    site.first.kill()
    site.first.start()
    site.insert(3)
    site.first.ask("select pg_switch_wal()")
    site.restore(folder=str(site.folder), wal=f"cp {archive}/%f %p")
    wait.until(lambda: site.servers.ids(site.second) == {3}, LIMIT, "the archive is replayed")


def test_it_follows_nobody_and_nobodys_claim_though_the_backup_did(site: Site) -> None:
    upstream = str(site.first.config.dsn) + f" password={site.first.server.password}"
    with site.first.server.connect() as primary:
        primary.execute(f"alter system set primary_conninfo = '{upstream}'")
    (site.first.server.data / "dr.claim").write_text("a run of long ago")
    site.take("2026-01-02")
    (site.first.server.data / "dr.claim").unlink()
    site.insert(4)
    site.restore()
    assert site.second.ask("select count(*) from pg_stat_wal_receiver") == 0
    assert site.second.ask("show primary_conninfo") == ""
    assert site.servers.ids(site.second) == set()
    assert not (site.data / "dr.claim").exists()


def test_a_tool_may_fetch_the_backup(site: Site) -> None:
    site.restore(fetch=["cp", "--archive", f"{site.folder}/2026-01-01/.", "{data}"])
    assert not site.second.writable()


def test_a_backup_that_was_damaged_is_not_put_in_place(site: Site) -> None:
    damaged = site.take("2026-01-02") / "global" / "pg_filenode.map"
    damaged.write_bytes(bytes(524))
    with pytest.raises(Refused, match=r"db2: pg_verifybackup: .*checksum mismatch.*pg_filenode.map"):
        site.restore()
    assert not site.data.exists()


def test_without_a_complete_backup_it_is_said_so(site: Site) -> None:
    (site.folder / "2026-01-01" / "backup_manifest").unlink()
    with pytest.raises(Refused, match="db2: no complete backup of pg_basebackup is in"):
        site.restore()


def test_a_backup_with_tablespaces_is_not_shared_with_the_server_but_a_tool_may_place_them(site: Site) -> None:
    elsewhere = site.folder.with_name("tablespace")
    elsewhere.mkdir()
    (site.folder / "2026-01-01" / "pg_tblspc" / "16384").symlink_to(elsewhere)
    with pytest.raises(Refused, match="db2: the backup has tablespaces"):
        site.restore()
    site.restore(fetch=["cp", "--archive", f"{site.folder}/2026-01-01/.", "{data}"])


def test_what_the_server_had_is_kept_and_a_server_that_runs_is_left_alone(site: Site) -> None:
    site.restore()
    with site.world().act() as here:
        here.run = "another"
        with pytest.raises(Refused, match=r"db2 runs \(standby\): stop it first"):
            STEP.apply(here)
        site.second.kill()
        was = site.data.stat().st_ino
        STEP.apply(here)
    [kept] = site.data.parent.glob("db2.before-another-*")
    assert kept.stat().st_ino == was
    assert not site.second.writable()


def test_an_undo_shuts_it_down_unless_it_has_become_a_primary(site: Site) -> None:
    site.restore()
    with site.world().act() as here:
        STEP.undo(here, {"db2": "absent"})
        STEP.undo(here, {"db2": "absent"})
        assert STEP.observe_undone(here, {}) == InPlace({"db2": "fenced"})
        STEP.apply(here)
        site.second.ask("select pg_promote()")
        with pytest.raises(Refused, match="db2 has become a primary"):
            STEP.undo(here, {"db2": "absent"})


@pytest.mark.parametrize("source", [{}, {"folder": "/b", "fetch": ["x", "{data}"]}, {"fetch": ["x"]}])
def test_a_server_is_restored_from_one_place_that_fills_its_directory(source: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"folder|fetch"):
        msgspec.convert(source, Backup)


def test_a_server_without_a_backup_is_not_restored(site: Site) -> None:
    assert isinstance(site.second.config, PostgresqlServer)
    world = World(site.servers.targets(), site.servers.secrets)
    with world.act() as here, pytest.raises(Refused, match=r"db2 has no `backup` in dr\.toml"):
        STEP.apply(here)
