"""`restore-from-backup` with a real pgBackRest, its primary lost: restored as the README says, and attacked."""

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from dr.demo import wait
from dr.targets.transport.fresh_directory import Backup
from tests.cli.shell import PATIENCE, Outcome, command, environment, journal, until
from tests.cluster import LIMIT, cluster
from tests.desk import RESTORE, Desk
from tests.pgbackrest import Stanza, as_in_the_readme
from tests.website import Site, website

RUN = ("run", RESTORE, "--env", "test", "--yes", "--ungraceful")
RESTORED = '[environments.test.targets.restored]\ntype = "postgresql"\ndsn = "{dsn}"\npassword = "env:PGTEST"\n'


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A primary that is gone with its data; what is left is the stanza's repository."""

    stanza: Stanza
    shop: Site
    acknowledged: set[int]
    before_the_mistake: str
    """A moment at which the table `orders` was whole; after it everything was deleted there."""


@pytest.fixture(scope="module")
def lost() -> Iterator[Lost]:
    with cluster(standbys=0, empty=1, release=15) as servers, website() as shop:
        stanza = Stanza(servers)
        stanza.create()
        stanza.run("backup", "--type=full")
        backed_up = servers.first.ask("select clock_timestamp()::text")
        with servers.first.server.connect() as primary:

            def write(*numbers: int) -> None:
                for number in numbers:
                    primary.execute("insert into writes values (%s, 'x')", [number])

            primary.execute("create table dr_heartbeat as select clock_timestamp() as at")
            primary.execute("create table orders as select generate_series(1, 100) as id")
            write(*range(1, 10))
            stanza.archive_all()
            # For a while it cannot archive: what piles up is archived later.
            stanza.archive_by("false")
            write(10)
            primary.execute("select pg_switch_wal()")
            write(11)
            primary.execute("select pg_switch_wal()")
            failed = "select failed_count > 0 from pg_stat_archiver"
            wait.until(lambda: primary.execute(failed).fetchone() == (True,), LIMIT, "the archiving fails")
            stanza.archive_by("pgbackrest --stanza=shop archive-push %p")
            stanza.archive_all()
            # pgBackRest knows when a backup ended to the second, and takes it for none that was complete within that.
            later = f"select date_trunc('second', clock_timestamp()) > '{backed_up}'"
            wait.until(lambda: primary.execute(later).fetchone() == (True,), LIMIT, "the next second")
            [moment] = primary.execute("select clock_timestamp()::text").fetchone() or ()
            primary.execute("delete from orders")
            write(12)
            stanza.archive_all()
        servers.first.kill()
        shutil.rmtree(servers.first.server.data)
        yield Lost(stanza=stanza, shop=shop, acknowledged=set(range(1, 13)), before_the_mistake=str(moment))


class Case:
    """An operator before `db2`, which has no data, and a copy of the repository that may be damaged."""

    def __init__(self, folder: Path, lost: Lost) -> None:
        self.lost, self.stanza, self.servers = lost, lost.stanza, lost.stanza.servers
        self.folder = folder
        self.node = self.servers.second
        self.data = self.node.server.data
        self.repository = self.servers.workspace.directory / f"repository-of-{folder.name}"
        self.stanza.servers.workspace.run(
            [*self.servers.prefix, "cp", "--archive", self.stanza.repository, self.repository], "cp.log"
        )
        self.stanza.restore_from(self.repository)
        self.segments = self.stanza.segments(self.repository)
        self.backup(as_in_the_readme())

    def backup(self, backup: Backup) -> None:
        """What `dr.toml` says of it."""
        self.node.config = msgspec.structs.replace(self.node.config, backup=backup)
        self.desk = Desk(self.folder, self.servers, self.lost.shop, self.servers.first, self.node)
        with (self.folder / "dr.toml").open("a", encoding="utf-8") as toml:
            toml.write(RESTORED.format(dsn=self.node.config.dsn))

    def begin(self) -> subprocess.Popen[bytes]:
        """`dr run` in the background, at the moment when pgBackRest has begun."""
        with (self.folder / "out").open("wb") as out:
            process = subprocess.Popen(
                command(*RUN), cwd=self.folder, env=environment(self.folder, **self.desk.variables),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until(lambda: bool(self.tools()) or process.poll() is not None)
        assert process.poll() is None, (self.folder / "out").read_text()
        return process

    def tools(self) -> list[psutil.Process]:
        """The pgBackRest that fills the directory; its workers are another's children."""
        mark = f"--pg1-path={self.data}.fresh-"
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(word.startswith(mark) for word in process.info["cmdline"] or ())
            and process.info["cmdline"][0] == "pgbackrest"
        ]

    def orders(self) -> int:
        return int(self.node.ask("select count(*) from orders"))

    def no_server_serves(self) -> bool:
        return not self.data.exists() and not self.node.answers()


@pytest.fixture
def case(tmp_path: Path, lost: Lost) -> Iterator[Case]:
    one = Case(tmp_path, lost)
    yield one
    one.node.kill()
    for path in one.data.parent.glob("db2*"):
        if path.is_dir():
            shutil.rmtree(path)
    shutil.rmtree(one.repository)


def paused(outcome: Outcome, *words: str) -> None:
    """It ended at a question, and says why."""
    assert outcome.status == 5, outcome.out + outcome.err
    for word in words:
        assert word in outcome.out, outcome.out


def test_what_was_acknowledged_and_archived_is_there_and_the_server_archives_again(case: Case) -> None:
    plan = case.desk.dr("plan", RESTORE, "--env", "test", "--look", "--ungraceful")
    assert "db2: absent, backup: pgbackrest" in plan.out, plan.out + plan.err
    paused(case.desk.dr(*RUN), "verify: done", "paused on fail-over")
    assert not case.node.writable()
    [restored] = [
        entry for entry in journal(case.folder) if entry["type"] == "step-done" and entry["step"] == "restore"
    ]
    assert restored["evidence"]["committed_until"] > case.lost.before_the_mistake.replace(" ", "T")
    done = case.desk.dr("answer", "latest", "yes")
    assert done.status == 0, done.out + done.err
    assert case.servers.ids(case.node) == case.lost.acknowledged
    assert case.node.writable()
    case.node.ask("select pg_switch_wal()")
    archived = "select last_archived_wal like '00000002%' from pg_stat_archiver"
    wait.until(lambda: case.node.ask(archived) is True, LIMIT, "the new primary archives on its own timeline")


def test_up_to_a_moment_before_a_mistake_the_data_are_as_they_were_then(case: Case) -> None:
    paused(case.desk.dr(*RUN, "-p", f"until={case.lost.before_the_mistake}"), "paused on fail-over")
    assert case.orders() == 100
    assert case.servers.ids(case.node) == case.lost.acknowledged - {12}
    done = case.desk.dr("answer", "latest", "yes")
    assert done.status == 0, done.out + done.err
    assert case.node.writable()
    # It is a primary like any other: started again, it does not go back there, and neither does a copy of it.
    assert "recovery_target_time" not in (case.data / "postgresql.auto.conf").read_text()
    assert not (case.data / "recovery.signal").exists()
    case.node.kill()
    case.node.start()
    assert case.node.writable()
    assert case.orders() == 100


def test_a_moment_before_the_first_backup_is_refused_in_its_words(case: Case) -> None:
    paused(case.desk.dr(*RUN, "-p", "until=2020-01-01T00:00:00Z"), "unable to find backup set with stop time less than")
    assert case.no_server_serves()


def test_a_moment_that_the_archive_does_not_reach_is_not_taken_for_reached(case: Case) -> None:
    paused(case.desk.dr(*RUN, "-p", "until=2037-01-01T00:00:00Z"), "the archive ends before 2037-01-01 00:00:00")
    assert not case.node.writable()


def test_a_wal_file_that_is_missing_is_named_and_the_run_goes_on_once_it_is_back(case: Case) -> None:
    missing = case.segments[-3]
    name = missing.name.partition("-")[0]
    held = missing.rename(case.repository / missing.name)
    paused(case.desk.dr(*RUN), f"WAL file {name} is missing from the archive, which has", "Answer `retry`")
    assert not case.node.writable()
    held.rename(missing)
    paused(case.desk.dr("answer", "latest", "retry"), "paused on fail-over")
    assert case.servers.ids(case.node) == case.lost.acknowledged


def test_wal_that_the_backup_itself_needs_is_named_and_nobody_can_connect(case: Case) -> None:
    first = case.segments[0]
    first.unlink()
    paused(case.desk.dr(*RUN), "the backup is not whole: the archive does not give WAL file", first.name[:24])
    assert not case.node.answers()
    undone = case.desk.dr("rollback", "latest")
    assert undone.status == 4, undone.out + undone.err
    assert case.node.process() is None


def test_a_damaged_wal_file_is_not_taken_for_the_end_of_the_archive(case: Case) -> None:
    damage(case.segments[-2])
    paused(case.desk.dr(*RUN), f"the archive does not give WAL file {case.segments[-2].name[:24]}", "ERROR")
    assert not case.node.writable()


def test_a_damaged_file_of_the_backup_is_named_and_nothing_is_put_in_place(case: Case) -> None:
    [file] = case.repository.glob("backup/shop/*F/pg_data/global/pg_filenode.map.gz")
    with gzip.open(file, "rb") as whole:
        content = whole.read()
    file.write_bytes(gzip.compress(bytes(len(content))))
    paused(case.desk.dr(*RUN), "db2: pgbackrest: ERROR", "pg_filenode.map")
    assert case.no_server_serves()


def test_a_stanza_that_is_not_there_is_named(case: Case) -> None:
    known = as_in_the_readme()
    fetch = tuple(word.replace("shop", "shoes") for word in known.fetch)
    case.backup(msgspec.structs.replace(known, fetch=fetch))
    paused(case.desk.dr(*RUN), "db2: pgbackrest: ", "shoes", "ERROR: [075]: no backup set found to restore")
    assert case.no_server_serves()


def test_what_was_never_archived_is_lost_and_data_that_are_too_old_are_not_promoted(case: Case) -> None:
    for segment in case.segments[-2:]:
        segment.unlink()
    asked = case.desk.dr(*RUN, "-p", "within=1s", "-p", "oldest=0.001")
    paused(asked, "well is from 0 to 0.001")
    assert not case.node.writable()
    assert 12 not in case.servers.ids(case.node)


def test_a_pgbackrest_that_is_killed_is_told_from_one_that_says_no(case: Case) -> None:
    process = case.begin()
    for tool in case.tools():
        tool.kill()
    process.wait(PATIENCE)
    paused(
        Outcome(process.returncode, (case.folder / "out").read_text(), ""), "pgbackrest", "SIGKILL", "says nothing of"
    )
    assert case.no_server_serves()


def test_a_dr_that_is_killed_leaves_no_half_restored_server_and_the_next_one_goes_on(case: Case) -> None:
    process = case.begin()
    left_behind = case.tools()
    for tool in left_behind:
        tool.suspend()
    process.kill()
    process.wait(PATIENCE)
    assert case.no_server_serves()
    resumed = case.desk.dr("resume", "latest")
    assert resumed.status == 5, resumed.out + resumed.err
    paused(case.desk.dr("answer", "latest", "retry"), "paused on fail-over")
    for tool in left_behind:
        tool.kill()
    assert not [*case.data.parent.glob("db2.fresh-*")]
    assert case.servers.ids(case.node) == case.lost.acknowledged


def damage(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)
