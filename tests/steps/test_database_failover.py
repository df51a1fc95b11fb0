"""A primary that is dead, or only seems so; real servers, killed and frozen."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace
from dr.demo import wait
from dr.steps.database_failover import DatabaseFailover, Despite, NotReady
from dr.steps.database_reprotect import DatabaseReprotect
from dr.targets.protocols import TargetUnreachable
from dr.targets.switching import DatabaseServer
from dr.targets.transport.data_directory import FENCE
from tests.cluster import LIMIT, Cluster, Watch, Writer, cluster
from tests.here import World
from tests.switching import applied


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster(standbys=2) as started:
        yield started


def failover(*despite: Despite, quiet_for: str = "10s", heartbeat: str = "") -> DatabaseFailover:
    return DatabaseFailover(
        primary="db1", standbys=("db2", "db3"), pool="pool", despite=despite, heartbeat=heartbeat,
        quiet_for=parse_duration(quiet_for), patience=parse_duration("2s"),
    )  # fmt: skip


def make(servers: Cluster, step: DatabaseFailover, fault: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    with World(servers.targets(), servers.secrets).act() as here:
        here.say = fault  # type: ignore[method-assign,assignment]
        return dict(step.apply(here))


def look(servers: Cluster, step: DatabaseFailover) -> InPlace | NotInPlace:
    with World(servers.targets(), servers.secrets).look() as here:
        seen = step.observe(here)
    assert isinstance(seen, InPlace | NotInPlace)
    return seen


def writable(servers: Cluster) -> list[str]:
    return [node.name for node in servers.nodes if node.writable()]


def test_the_most_advanced_standby_takes_the_place_of_a_dead_primary_and_the_others_follow_it(servers: Cluster) -> None:
    second, third = servers.nodes[1:]
    with third.server.connect() as standby:  # it stays behind
        standby.execute("alter system set primary_conninfo = ''")
        standby.execute("select pg_reload_conf()")
    with Writer(servers) as client, Watch(servers) as watch:
        servers.first.kill()
        assert isinstance(look(servers, failover()), NotInPlace)
        evidence = {"fenced": "its next start makes it a standby", "promoted": "db2", "told_to_follow": ["db3"]}
        assert make(servers, failover()) == evidence
        assert isinstance(look(servers, failover()), InPlace)
        client.goes_on()
        for name in ("db3", "db1"):
            step = DatabaseReprotect(
                primary="db2", standby=name, diverged="rewind", streams_within=parse_duration("5s")
            )
            with World(servers.targets(), servers.secrets).act() as here:
                if not isinstance(step.observe(here), InPlace):
                    step.apply(here)
                assert isinstance(step.observe(here), InPlace)
    assert not watch.two_writable
    assert writable(servers) == ["db2"]
    assert len(client.acknowledged - servers.ids(second)) <= 1, "what the standby had not received is lost"


def test_a_standby_that_has_not_followed_since_an_earlier_failover_is_not_preferred_for_its_bytes(
    servers: Cluster,
) -> None:
    """What it has more of, nobody ever received; what it lacks is all that was written since."""
    second, third = servers.nodes[1:]
    with third.server.connect() as standby:
        upstream = second.config.replication
        standby.execute(psycopg.sql.SQL("alter system set primary_conninfo = {}").format(upstream))
        standby.execute("select pg_reload_conf()")
    wait.until(lambda: second.ask("select count(*) from pg_stat_replication") == 1, LIMIT, "the third follows it")
    second.ask("select pg_promote()")
    with servers.first.server.connect() as old:  # it goes another way, and far
        old.execute("create table nobody_received as select generate_series(1, 100000)")
    servers.first.kill()
    (servers.first.server.data / FENCE).touch()
    servers.first.start()
    second.ask("insert into writes values (1, 'since then') returning id")
    wait.until(lambda: third.ask("select count(*) from writes where id = 1") == 1, LIMIT, "the third has it")
    second.kill()
    step = msgspec.structs.replace(failover(), primary="db2", standbys=("db1", "db3"))
    assert make(servers, step)["promoted"] == "db3"
    assert 1 in servers.ids(third)


def test_the_old_primary_comes_back_as_a_standby_whoever_starts_it(servers: Cluster) -> None:
    """Safety rule 10."""
    servers.first.kill()
    make(servers, failover())
    servers.first.kill()
    servers.first.start()
    assert writable(servers) == ["db2"]


def test_a_primary_that_works_is_left_alone(servers: Cluster) -> None:
    with pytest.raises(NotReady, match="db1 works"):
        make(servers, failover("overloaded", "unfenced"))
    assert writable(servers) == ["db1"]


@contextmanager
def full(servers: Cluster) -> Iterator[None]:
    """No connection is left."""
    taken = []
    try:
        while True:
            taken.append(psycopg.connect(servers.first.server.dsn))
    except psycopg.OperationalError:
        yield
    finally:
        for connection in taken:
            connection.close()


def test_an_overloaded_primary_is_told_from_a_dead_one(servers: Cluster) -> None:
    with full(servers):
        with pytest.raises(NotReady, match="db1 is overloaded, not dead: it has no connection left"):
            make(servers, failover())
        with World(servers.targets(), servers.secrets).look() as here:
            assert "database-overload" in str(failover().preview(here)["in_the_way"])
    assert writable(servers) == ["db1"]


def test_a_primary_that_hangs_but_was_just_heard_of_is_not_dead(servers: Cluster) -> None:
    servers.first.freeze()
    try:
        with pytest.raises(NotReady, match="db1 hangs or is overloaded, not dead: db2 heard of it"):
            make(servers, failover(quiet_for="1h"))
    finally:
        servers.first.thaw()


def test_a_primary_that_cannot_be_fenced_is_not_replaced(servers: Cluster) -> None:
    """Frozen it goes on some day, and then takes writes."""
    servers.first.freeze()
    try:
        with pytest.raises(NotReady, match="db1 cannot be fenced, so it may still take writes"):
            make(servers, failover(quiet_for="0s"))
        assert not servers.second.writable()
        make(servers, failover("unfenced", quiet_for="0s"))
        assert isinstance(look(servers, failover("unfenced")), InPlace)
        assert servers.second.writable() != servers.nodes[2].writable()
    finally:
        servers.first.thaw()


def test_a_mark_that_was_left_when_all_was_done_is_taken_away_and_no_client_notices(
    servers: Cluster, tmp_path: Path
) -> None:
    servers.first.kill()
    killed = applied(failover(), servers.targets(), servers.secrets, tmp_path, "'rm', '-f'")
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert "this run's mark is still on" in str(look(servers, failover()))
    with Writer(servers) as client:
        make(servers, failover())
    assert not client.errors
    assert isinstance(look(servers, failover()), InPlace)


def test_a_change_of_roles_that_another_run_began_is_told_before_the_primary_is_touched(servers: Cluster) -> None:
    """A standby may have been asked to become the primary; whether that is over, nobody here knows."""
    with World(servers.targets(), servers.secrets).act() as here:
        here.reach(DatabaseServer, "db3").claim("another-run/fail-over db3")
    servers.first.kill()
    with pytest.raises(
        NotReady, match=r"db3 is marked by .*: another-run \(`dr show RUN`.* remove the mark, .*dr.claim"
    ):
        make(servers, failover())
    assert not (servers.first.server.data / "standby.signal").exists()
    (servers.nodes[2].server.data / "dr.claim").unlink()
    make(servers, failover())


def test_how_much_is_lost_is_told_by_the_age_of_a_marker(servers: Cluster) -> None:
    with servers.first.server.connect() as primary:
        primary.execute("create table heartbeat as select clock_timestamp() as at")
    query = "select extract(epoch from clock_timestamp() - max(at))::float8 from heartbeat"
    servers.first.kill()
    lost = make(servers, failover(heartbeat=query))["lost_at_most_seconds"]
    assert isinstance(lost, float)
    assert 0 < lost < 60


def test_a_standby_that_was_chosen_is_never_replaced_by_another_one(servers: Cluster) -> None:
    """It may be about to become the primary."""

    def freeze(words: str) -> None:
        if words.startswith("db2 has received most"):
            servers.second.freeze()

    with servers.nodes[2].server.connect() as standby:
        standby.execute("alter system set primary_conninfo = ''")
        standby.execute("select pg_reload_conf()")
    with servers.first.server.connect() as primary:
        primary.execute("insert into writes values (1, 'x')")
    servers.first.kill()
    with World(servers.targets(), servers.secrets).act(timeout=6) as here:
        here.say = freeze  # type: ignore[method-assign,assignment]
        with pytest.raises(TargetUnreachable):
            failover().apply(here)
    with pytest.raises(NotReady, match="db2 was chosen, may be about to become the primary, and does not answer"):
        make(servers, failover())
    servers.second.thaw()
    assert make(servers, failover())["promoted"] == "db2"
    assert writable(servers) == ["db2"]


def test_an_old_primary_that_recovers_for_long_behind_its_fence_is_no_reason_to_fail_over_again(
    servers: Cluster, tmp_path: Path
) -> None:
    """Each further attempt would cut off the clients, who are served by then, and have it begin its recovery anew."""
    with servers.first.slow_to_recover(tmp_path) as let_it_recover:
        servers.first.kill()
        assert make(servers, failover())["promoted"] == "db2"
        assert look(servers, failover()) == InPlace(
            {"db1": "recovering", "db2": "writable", "db3": "standby", "pool": "taken to db2"}
        )
        step = DatabaseReprotect(primary="db2", standby="db1", diverged="rewind")
        said = list[str]()
        with World(servers.targets(), servers.secrets).act() as here:
            here.say = lambda text: (said.append(text), let_it_recover())  # type: ignore[method-assign,assignment,func-returns-value]
            step.apply(here)
            assert isinstance(step.observe(here), InPlace)
    assert said[0] == "db1 replays its own WAL, and answers no query yet"
    assert writable(servers) == ["db2"]


def test_a_fence_that_a_server_may_have_been_started_before_is_no_proof_while_it_recovers(
    servers: Cluster, tmp_path: Path
) -> None:
    """Safety rule 10: it answers nothing, and is about to take writes beside the new primary."""
    first = servers.first
    with servers.first.slow_to_recover(tmp_path) as let_it_recover:
        first.kill()
        (first.server.data / "recovery.signal").touch()
        first.launch()
        wait.until((tmp_path / "asked").exists, LIMIT, "it looks for what it has to replay")
        (first.server.data / "standby.signal").touch()
        with World(servers.targets(), servers.secrets).look() as here:
            assert failover().preview(here)["db1"] == "silent"
        let_it_recover()
        wait.until(first.writable, LIMIT, "it takes writes")
