"""Real backups of a real server, restored into one that has no data, or other data."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.demo import wait
from dr.steps.database_restore import DatabaseRestore
from dr.targets.postgresql_server import PostgresqlServer
from dr.targets.protocols import Refused
from dr.targets.switching import DatabaseServer
from dr.targets.transport import wal_archive
from dr.targets.transport.data_directory import DataDirectory
from dr.targets.transport.fresh_directory import Backup
from dr.targets.transport.wal_archive import Wanted, wanted_by
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

    def archive(self) -> None:
        """From now on, what is written is archived; `wal` gets it back."""
        self.archive_folder = self.folder.with_name("archive")
        self.wal = f"cp {self.archive_folder}/%f %p"
        self.servers.workspace.run([*self.servers.prefix, "mkdir", self.archive_folder], "mkdir.log")
        with self.first.server.connect() as primary:
            primary.execute("alter system set archive_mode = 'on'")
            primary.execute(f"alter system set archive_command = 'cp %p {self.archive_folder}/%f'")
        self.first.kill()
        self.first.start()

    def archived(self) -> None:
        """Have all that was written archived, and wait for that."""
        last = self.first.ask("select pg_walfile_name(pg_switch_wal())")
        wait.until((self.archive_folder / last).exists, LIMIT, "it is archived")

    def archive_with_a_gap(self) -> Path:
        """Have some WAL files archived; the one to be taken away."""
        self.archive()
        for number in (8, 9):
            self.insert(number)
            self.first.ask("select pg_switch_wal()")
        self.archived()
        return sorted(self.archive_folder.iterdir())[-2]

    def now(self) -> str:
        return str(self.first.ask("select clock_timestamp()::text"))

    def world(self, **backup: object) -> World:
        source = msgspec.convert(backup or {"folder": str(self.folder)}, Backup)
        config = msgspec.structs.replace(self.second.config, backup=source)
        return World({**self.servers.targets(), "db2": config}, self.servers.secrets)

    def restore(self, step: DatabaseRestore = STEP, **backup: object) -> dict[str, object]:
        with self.world(**backup).act(60) as here:
            assert isinstance(step.observe(here), NotInPlace)
            facts = dict(step.apply(here))
            step.apply(here)
            assert isinstance(step.observe(here), InPlace)
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
    site.archive()
    site.insert(3)
    site.archived()
    site.restore(folder=str(site.folder), wal=site.wal)
    assert site.servers.ids(site.second) == {3}


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


def test_a_check_that_crashes_is_not_taken_for_a_damaged_backup(site: Site, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in Path(site.second.config.programs).iterdir():
        (programs / tool.name).symlink_to(tool)
    (programs / "pg_verifybackup").unlink()
    (programs / "pg_verifybackup").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (programs / "pg_verifybackup").chmod(0o755)
    site.second.config = msgspec.structs.replace(site.second.config, programs=str(programs))
    with pytest.raises(
        Refused, match=r"pg_verifybackup did not come to an end, which says nothing of the backup: .*SEGV"
    ):
        site.restore()
    assert not site.data.exists()


def test_how_much_is_copied_is_told_while_a_tool_is_at_it(site: Site, tmp_path: Path) -> None:
    go = tmp_path / "go"
    waiting = f'cp --archive {site.folder}/2026-01-01/. "$1" && while [ ! -e {go} ]; do sleep 0.02; done'

    class Heard(list[str]):
        def append(self, text: str) -> None:
            super().append(text)
            go.touch()

    with site.world(fetch=["sh", "-c", waiting, "sh", "{data}"]).act(60) as here:
        here.said = Heard()
        STEP.apply(here)
    assert re.fullmatch(r"db2: \d+ MiB are copied", here.said[0])


def test_up_to_a_moment_the_newest_backup_from_before_it_is_replayed_and_held_there(site: Site) -> None:
    site.archive()
    site.insert(5)
    moment = site.now()
    site.insert(6)
    site.take("2026-01-02")
    site.archived()
    facts = site.restore(DatabaseRestore(server="db2", until=moment), folder=str(site.folder), wal=site.wal)
    assert str(facts["backup"]).endswith("2026-01-01")
    assert site.servers.ids(site.second) == {5}
    assert not site.second.writable()
    with site.world().act() as here:
        here.reach(DatabaseServer, "db2").promote()
        here.reach(DatabaseServer, "db2").promote()
    site.second.kill()
    site.second.start()
    assert site.second.writable()
    assert site.second.ask("show recovery_target_time") == ""


GRANTS = """
create role dr login password 'not-a-secret';
grant pg_monitor, pg_checkpoint to dr;
grant execute on function pg_promote, pg_reload_conf to dr;
"""


@pytest.mark.parametrize("granted", [True, False])
def test_a_role_that_could_not_take_the_moment_back_is_refused_before_the_promotion(site: Site, granted: bool) -> None:
    with site.first.server.connect() as primary:
        primary.execute(GRANTS)
        if granted:
            primary.execute("grant alter system on parameter recovery_target_time to dr")
    site.archive()
    site.take("2026-01-02")
    site.insert(1)
    moment = site.now()
    site.insert(2)
    site.archived()
    dsn = str(site.second.config.dsn).replace("user=postgres", "user=dr")
    site.second.config = msgspec.structs.replace(site.second.config, dsn=dsn)
    step = DatabaseRestore(server="db2", until=moment)
    backup = {"folder": str(site.folder), "wal": site.wal}
    if not granted:
        with pytest.raises(Refused, match="dr's role may not reset recovery_target_time"):
            site.restore(step, **backup)
        return
    site.restore(step, **backup)
    with site.world().act() as here:
        here.reach(DatabaseServer, "db2").promote()
    assert site.second.writable()
    assert "recovery_target_time" not in (site.data / "postgresql.auto.conf").read_text()


def test_where_a_restore_was_held_long_ago_does_not_hold_the_next_one(site: Site) -> None:
    site.archive()
    with site.first.server.connect() as primary:
        primary.execute("alter system set recovery_target_time = '2001-01-01 00:00:00+00'")
    site.take("2026-01-02")
    site.insert(7)
    site.archived()
    site.restore(folder=str(site.folder), wal=site.wal)
    assert site.servers.ids(site.second) == {7}


def test_a_moment_that_no_backup_is_older_than_is_refused(site: Site) -> None:
    with pytest.raises(Refused, match="no complete backup of pg_basebackup that was complete at 2020-01-01 00:00:00"):
        site.restore(
            DatabaseRestore(server="db2", until="2020-01-01T01:00:00+01:00"), folder=str(site.folder), wal="false"
        )


@pytest.mark.parametrize(
    "backup, why",
    [
        ({"folder": "/b"}, "has no `wal`"),
        ({"fetch": ["x", "{data}"], "wal": "false"}, "has no `fetch_until`"),
    ],
)
def test_a_moment_that_the_backup_cannot_be_replayed_to_is_refused(
    site: Site, backup: dict[str, object], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        site.restore(DatabaseRestore(server="db2", until="2026-01-01T00:00:00Z"), **backup)
    assert not site.data.exists()


@pytest.mark.parametrize("until", ["yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_moment_is_written_with_its_zone(until: str) -> None:
    with pytest.raises(ValueError, match=r"until: .*; write it such as 2023-05-15T09:59:59-04:00"):
        DatabaseRestore(server="db2", until=until)


def test_a_wal_file_that_comes_late_is_waited_for_no_longer_once_it_is_there(site: Site) -> None:
    missing = site.archive_with_a_gap()
    held = missing.rename(site.folder / missing.name)
    with pytest.raises(Refused, match=f"WAL file {missing.name} is missing from the archive, which has"):
        site.restore(folder=str(site.folder), wal=site.wal)
    held.rename(missing)
    with site.world(folder=str(site.folder), wal=site.wal).act(60) as here:
        STEP.apply(here)
    assert site.servers.ids(site.second) == {8, 9}
    assert not [*site.data.glob("dr.probe-*")]


def test_a_gap_is_seen_also_where_the_server_was_only_about_to_begin_when_it_was_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.archive_with_a_gap().unlink()
    with pytest.raises(Refused, match="is missing from the archive"):
        site.restore(folder=str(site.folder), wal=site.wal)
    looks: list[Wanted | None] = []

    def look(directory: DataDirectory) -> Wanted | None:
        looks.append(wanted_by(directory) if looks else None)
        return looks[-1]

    monkeypatch.setattr(wal_archive, "wanted_by", look)
    with site.world(folder=str(site.folder), wal=site.wal).act(60) as here:
        replay = here.reach(DatabaseServer, "db2").replay()
    assert (replay.state, looks[0]) == ("starved", None)


def test_an_archive_that_answers_more_slowly_than_it_is_asked_is_replayed_to_its_end_all_the_same(site: Site) -> None:
    site.archive()
    site.insert(10)
    site.archived()
    site.restore(folder=str(site.folder), wal=f"sleep 0.2; {site.wal}")
    assert site.second.ask("show wal_retrieve_retry_interval") == "100ms"
    assert site.servers.ids(site.second) == {10}


def test_without_a_complete_backup_it_is_said_so(site: Site) -> None:
    (site.folder / "2026-01-01" / "backup_manifest").unlink()
    with pytest.raises(Refused, match=rf"^db2: no complete backup of pg_basebackup is in {site.folder}$"):
        site.restore()
    with pytest.raises(Refused, match=r"is in /nowhere \(find: \S*/nowhere\S* No such file or directory\)$"):
        site.restore(folder="/nowhere")


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
        STEP.undo(here, {"db2": "standby"})
        assert site.second.answers()
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


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"folder": "/b", "fetch": ["x", "{data}"]},
        {"fetch": ["x"]},
        {"folder": "/b", "fetch_until": ["x", "{data}", "{until}"]},
        {"fetch": ["x", "{data}"], "fetch_until": ["x", "{data}"]},
    ],
)
def test_a_server_is_restored_from_one_place_that_fills_its_directory(source: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"folder|fetch"):
        msgspec.convert(source, Backup)


def test_a_server_without_a_backup_is_not_restored(site: Site) -> None:
    assert isinstance(site.second.config, PostgresqlServer)
    world = World(site.servers.targets(), site.servers.secrets)
    with world.act() as here, pytest.raises(Refused, match=r"db2 has no `backup` in dr\.toml"):
        STEP.apply(here)
