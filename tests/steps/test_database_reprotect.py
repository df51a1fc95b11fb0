"""Ways back for an old primary, each on real servers; the cheap ones are also in the tests of both role changes."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace
from dr.demo import wait
from dr.steps.database_reprotect import DatabaseReprotect, Diverged
from dr.targets.protocols import Refused, TargetConfig, TargetUnreachable
from dr.targets.transport.data_directory import FENCE
from tests.cluster import LIMIT, Cluster, Watch, cluster
from tests.hanging_rewind import hanging_rewind
from tests.here import World


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


def step(diverged: Diverged, standby: str = "db1", primary: str = "db2") -> DatabaseReprotect:
    return DatabaseReprotect(
        standby=standby, primary=primary, diverged=diverged, streams_within=parse_duration("1s")
    )  # fmt: skip


def make(
    servers: Cluster, step: DatabaseReprotect, timeout: float = 30.0, **targets: TargetConfig
) -> dict[str, object]:
    with World({**servers.targets(), **targets}, servers.secrets).act(timeout) as here:
        facts = dict(step.apply(here))
        assert isinstance(step.observe(here), InPlace)
    return facts


def part_for_good(servers: Cluster) -> None:
    """The standby becomes a primary; the old one writes on for so long that its WAL since then is gone, and dies."""
    servers.second.ask("select pg_promote()")
    with servers.first.server.connect() as old:
        old.execute("alter system set wal_keep_size = 0")
        old.execute("select pg_reload_conf()")
        old.execute("insert into writes values (-7, 'never received')")
        fork = old.execute("select pg_walfile_name(pg_current_wal_lsn())").fetchone()
        assert fork is not None
        for _ in range(3):
            old.execute("select pg_switch_wal()")
            old.execute("checkpoint")
        wal = servers.first.server.data / "pg_wal"
        wait.until(lambda: not (wal / str(fork[0])).exists(), LIMIT, "its WAL is gone")
    servers.first.kill()


def beside(servers: Cluster, what: str) -> list[Path]:
    """Directories beside the first server's data."""
    return sorted(servers.first.server.data.parent.glob(f"db1.{what}-*"))


def test_an_old_primary_whose_wal_is_gone_is_copied_anew_and_its_old_data_are_kept(servers: Cluster) -> None:
    part_for_good(servers)
    unfinished = servers.first.server.data.with_name("db1.fresh-of-one-that-was-killed")
    unfinished.mkdir()
    with Watch(servers) as watch:
        with pytest.raises(Refused, match=r"db1 cannot be rewound: .*; `diverged: copy` makes it a fresh copy"):
            make(servers, step("rewind"))
        assert make(servers, step("copy")) == {"way": "copied"}
    assert not watch.two_writable
    assert servers.second.writable()
    assert -7 not in servers.ids(servers.first)
    [kept] = beside(servers, "before")
    assert (kept / "PG_VERSION").exists()
    assert not beside(servers, "fresh")
    assert make(servers, step("copy")) == {"way": "as it was"}
    assert beside(servers, "before") == [kept]


def test_an_old_primary_that_crashed_once_more_when_it_was_a_standby_already_is_rewound(servers: Cluster) -> None:
    """It knows by then that the new primary's timeline begins before its own end, and does not start any more."""
    servers.second.ask("select pg_promote()")
    servers.first.ask("insert into writes values (-7, 'never received') returning id")
    servers.first.kill()
    (servers.first.server.data / FENCE).touch()
    servers.first.start()
    with servers.first.server.connect() as standby:
        upstream = servers.second.config.replication
        standby.execute(psycopg.sql.SQL("alter system set primary_conninfo = {}").format(upstream))
        standby.execute("select pg_reload_conf()")
    log = servers.workspace.directory / "db1.out"
    wait.until(lambda: "before current recovery point" in log.read_text(), LIMIT, "it knows of the new timeline")
    servers.first.kill()
    with Watch(servers) as watch:
        assert make(servers, step("rewind")) == {"way": "rewound"}
    assert watch.turns == ["db2"]
    assert -7 not in servers.ids(servers.first)


def test_a_server_whose_rewind_was_cut_short_is_started_by_nobody_until_it_is_a_copy(
    servers: Cluster, tmp_path: Path
) -> None:
    """Safety rule 10: it is not fenced then, and what it holds is neither its own data nor its primary's."""
    servers.second.ask("select pg_promote()")
    wait.until(servers.second.writable, LIMIT, "the new primary takes writes")
    servers.first.ask("insert into writes values (-7, 'never received') returning id")
    servers.first.kill()
    data = servers.first.server.data
    mode = data.stat().st_mode
    with Watch(servers) as watch:
        with pytest.raises(TargetUnreachable, match="did not end in time"):
            make(servers, step("rewind"), timeout=6.0, db1=hanging_rewind(servers.first.config, tmp_path / "programs"))
        assert not (data / FENCE).exists()
        servers.first.launch()
        log = data.with_name("db1.out")
        wait.until(lambda: "invalid permissions" in log.read_text(), LIMIT, "PostgreSQL refuses the start")
        for _ in "the WAL that it needs is gone", "and that is so the next time, too":
            with pytest.raises(Refused, match=r"db1 was not rewound to the end.*; `diverged: copy` makes it"):
                make(servers, step("rewind"))
        assert make(servers, step("copy")) == {"way": "copied"}
    assert watch.turns == ["db2"]
    assert data.stat().st_mode == mode
    assert -7 not in servers.ids(servers.first)


def test_a_server_without_data_becomes_a_standby_only_where_a_copy_is_allowed(servers: Cluster) -> None:
    servers.second.kill()
    servers.second.server.data.rename(servers.second.server.data.with_name("lost"))
    for_rewind = step("rewind", standby="db2", primary="db1")
    with World(servers.targets(), servers.secrets).look() as here:
        assert for_rewind.observe(here) == NotInPlace({"db1": "writable", "db2": "absent"})
    with pytest.raises(Refused, match="db2 has no data; `diverged: copy`"):
        make(servers, for_rewind)
    assert make(servers, step("copy", standby="db2", primary="db1")) == {"way": "copied"}


def test_a_copy_that_cannot_be_made_leaves_the_old_data_where_they_are(servers: Cluster) -> None:
    part_for_good(servers)
    data = servers.first.server.data
    was = data.stat().st_ino
    nobody = msgspec.structs.replace(servers.second.config, replication="host=127.0.0.1 port=1 user=postgres")
    with pytest.raises(Refused, match=r"db1: pg_basebackup: .*Connection refused"):
        make(servers, step("copy"), db2=nobody)
    assert data.stat().st_ino == was
    assert not beside(servers, "before")


def test_a_server_that_takes_writes_is_never_copied_over(servers: Cluster) -> None:
    """Safety rule 10."""
    servers.second.ask("select pg_promote()")
    with pytest.raises(Refused, match="db1 takes writes itself: fence it by hand, at once"):
        make(servers, step("copy"))
    assert servers.first.writable()
    assert not beside(servers, "before")


def test_a_server_that_starts_and_never_answers_is_not_waited_for_in_vain(servers: Cluster) -> None:
    """It takes half of the time to know that; the other half is for the ways that are left."""
    part_for_good(servers)
    with (servers.first.server.data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
        settings.write("hot_standby = off\n")
    assert make(servers, step("copy"), timeout=14)["way"] in {"rewound", "copied"}
    assert not servers.first.writable()
