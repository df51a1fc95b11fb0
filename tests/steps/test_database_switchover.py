"""Real servers, a real PgBouncer, and a client that writes all the time."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import Evidence, InPlace, NotInPlace
from dr.demo import process_tree, wait
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_switchover import DatabaseSwitchover, NotReady, SwitchedBack
from dr.targets.protocols import Refused, TargetUnreachable
from tests.cluster import LIMIT, Cluster, Writer, cluster
from tests.here import World

STEP = DatabaseSwitchover(primary="db1", standby="db2", pool="pool")
HASTY = DatabaseSwitchover(primary="db1", standby="db2", pool="pool", hold=parse_duration("2s"))
BACK = DatabaseSwitchover(primary="db2", standby="db1", pool="pool")
BEFORE = {"db1": "writable", "db2": "standby", "pool": "taken to db1"}
AFTER = {"db1": "fenced", "db2": "writable", "pool": "taken to db2"}


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture(scope="module")
def untouched() -> Iterator[Cluster]:
    """For tests in which nothing may be touched; it has a third server, db3, another standby."""
    with cluster(standbys=2) as started:
        yield started


def world(servers: Cluster) -> World:
    return World(servers.targets(), servers.secrets)


def look(servers: Cluster, step: DatabaseSwitchover = STEP) -> InPlace | NotInPlace:
    with world(servers).look() as here:
        seen = step.observe(here)
    assert isinstance(seen, InPlace | NotInPlace)
    return seen


def make(
    servers: Cluster,
    step: DatabaseSwitchover = STEP,
    fault: Callable[[str], None] = lambda _: None,
    timeout: float = 30.0,
) -> Evidence:
    """Apply it; `fault` is called with the name of each stage that is over. What the step claims."""
    with world(servers).act(timeout) as here:
        here.say = lambda text: fault(text.partition(":")[0])  # type: ignore[method-assign]
        return step.apply(here)


def reprotect(servers: Cluster, standby: str, primary: str) -> None:
    step = DatabaseReprotect(standby=standby, primary=primary)
    with world(servers).act() as here:
        step.apply(here)
        assert isinstance(step.observe(here), InPlace)


def test_a_client_that_writes_all_the_time_loses_no_row_and_gets_no_error_there_and_back(servers: Cluster) -> None:
    with Writer(servers) as client:
        assert look(servers) == NotInPlace(BEFORE)
        assert make(servers)["lost_at_most_seconds"] == 0
        assert look(servers) == InPlace(AFTER)
        client.goes_on()
        reprotect(servers, "db1", "db2")
        make(servers, BACK)
        client.goes_on()
        reprotect(servers, "db2", "db1")
    assert look(servers) == NotInPlace(BEFORE)
    assert client.errors == []
    assert servers.ids(servers.first) == client.acknowledged


def test_the_old_primary_comes_back_as_a_standby_whoever_starts_it(servers: Cluster) -> None:
    """Safety rule 10."""
    make(servers)
    servers.first.start()
    assert not servers.first.writable()
    assert servers.second.writable()


def test_the_old_primary_is_fenced_before_the_standby_is_asked(servers: Cluster) -> None:
    """Safety rule 10."""
    seen: list[bool] = []

    def fault(stage: str) -> None:
        if stage == "catch up":
            servers.first.start()
            seen.append(servers.first.writable())

    make(servers, fault=fault)
    assert seen == [False]
    assert servers.second.writable()


@contextmanager
def around_the_pool(servers: Cluster) -> Iterator[str]:
    with psycopg.connect(servers.first.server.dsn, application_name="reports"):
        yield "connected to db1 around the pool: reports of postgres"


@contextmanager
def long_transaction(servers: Cluster) -> Iterator[str]:
    with servers.connect() as client:
        client.autocommit = False
        client.execute("select 1")
        client.execute("select pg_sleep(5.6)")
        yield r"a transaction on db1 is \d+ s old"


@contextmanager
def held_before(servers: Cluster) -> Iterator[str]:
    dsn = f"host=127.0.0.1 port={servers.port} dbname=pgbouncer user=pgbouncer"
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
        console.execute("PAUSE shop")
        try:
            yield "pool does not take the clients to db1"
        finally:
            console.execute("RESUME shop")


@contextmanager
def replay_paused(servers: Cluster) -> Iterator[str]:
    servers.second.ask("select pg_wal_replay_pause()::text")
    wait.until(lambda: servers.second.ask("select pg_get_wal_replay_pause_state() = 'paused'"), LIMIT, "the pause")
    yield "db2: its replay is paused"
    servers.second.ask("select pg_wal_replay_resume()::text")


@contextmanager
def not_streaming(servers: Cluster) -> Iterator[str]:
    conninfo = servers.second.ask("show primary_conninfo")
    with servers.second.server.connect() as standby:
        standby.execute("alter system set primary_conninfo = ''")
        standby.execute("select pg_reload_conf()")
    wait.until(lambda: servers.second.ask("select count(*) from pg_stat_wal_receiver") == 0, LIMIT, "the end")
    yield "db2 does not stream from db1"
    with servers.second.server.connect() as standby:
        standby.execute(psycopg.sql.SQL("alter system set primary_conninfo = {}").format(str(conninfo)))
        standby.execute("select pg_reload_conf()")
    wait.until(lambda: servers.second.ask("select count(*) from pg_stat_wal_receiver") == 1, LIMIT, "streaming")


@contextmanager
def a_commit_would_wait(servers: Cluster) -> Iterator[str]:
    with servers.second.server.connect() as standby:
        standby.execute("alter system set synchronous_standby_names = 'somebody'")
        standby.execute("select pg_reload_conf()")
        wait.until(lambda: servers.second.ask("show synchronous_standby_names") == "somebody", LIMIT, "the setting")
        yield "db2: synchronous_standby_names is set"
        standby.execute("alter system reset synchronous_standby_names")
        standby.execute("select pg_reload_conf()")
    wait.until(lambda: servers.second.ask("show synchronous_standby_names") == "", LIMIT, "the setting")


@pytest.mark.parametrize(
    "obstacle", [around_the_pool, long_transaction, held_before, replay_paused, not_streaming, a_commit_would_wait]
)
def test_nothing_is_touched_when_something_is_in_the_way(
    untouched: Cluster, obstacle: Callable[[Cluster], AbstractContextManager[str]]
) -> None:
    """Safety rule 9."""
    with obstacle(untouched) as words:
        before = look(untouched)
        with world(untouched).look() as here:
            seen = STEP.preview(here)["in_the_way"]
            assert isinstance(seen, list)
            assert any(re.match(words, found) for found in seen)
        with pytest.raises(NotReady, match=words):
            make(untouched, msgspec.structs.replace(STEP, ready_within=parse_duration("1s")))
        assert look(untouched) == before
    assert not (untouched.first.server.data / "dr.claim").exists()
    assert look(untouched) == NotInPlace(BEFORE)


def test_servers_named_the_wrong_way_round_are_left_alone(untouched: Cluster) -> None:
    with pytest.raises(NotReady, match="db2 is standby, not writable"):
        make(untouched, DatabaseSwitchover(primary="db2", standby="db3", pool="pool"))
    assert look(untouched) == NotInPlace(BEFORE)


def test_a_transaction_that_does_not_end_holds_the_others_no_longer_than_allowed(servers: Cluster) -> None:
    with servers.connect() as idle, Writer(servers) as client:
        idle.autocommit = False
        idle.execute("select 1")
        with pytest.raises(SwitchedBack, match="db1 serves as before"):
            make(servers, HASTY)
        client.goes_on()
        idle.commit()
        assert look(servers) == NotInPlace(BEFORE)
        make(servers)
        client.goes_on()
    assert client.acknowledged <= servers.ids(servers.second)


@pytest.mark.parametrize("stage", ["pause", "stop"])
@pytest.mark.parametrize("what", ["kill", "freeze"])
def test_a_standby_that_fails_before_it_is_promoted_leaves_the_old_primary_in_charge(
    servers: Cluster, stage: str, what: str
) -> None:
    def fault(over: str) -> None:
        if over == stage == "pause":
            getattr(servers.second, what)()
        if over == stage == "stop":
            servers.second.kill()
            servers.first.start()  # a service manager that knows nothing of the switchover

    with Writer(servers) as client:
        with pytest.raises(SwitchedBack):
            make(servers, HASTY, fault=fault)
        client.goes_on()
        if stage == "pause" and what == "freeze":
            servers.second.thaw()
    assert client.acknowledged <= servers.ids(servers.first)
    assert client.longest < HASTY.hold + 5
    assert not (servers.first.server.data / "standby.signal").exists()


class Died(BaseException):
    """The orchestrator, in the middle of the step."""


@pytest.mark.parametrize("stage", ["pause", "stop", "catch up", "promote", "repoint", "resume"])
def test_what_was_cut_short_is_finished_by_the_next_attempt(servers: Cluster, stage: str) -> None:
    def die(over: str) -> None:
        if over == stage:
            raise Died

    with Writer(servers) as client:
        with pytest.raises(Died):
            make(servers, fault=die)
        claim = make(servers)
        assert look(servers) == InPlace(AFTER)
        client.goes_on()
    assert client.acknowledged <= servers.ids(servers.second)
    compared = stage in {"pause", "stop", "catch up"}
    assert claim.get("lost_at_most_seconds") == (0 if compared else None), "said by the attempt that has compared"


def test_a_fence_that_was_found_is_made_durable_before_the_standby_is_asked(servers: Cluster) -> None:
    """Safety rule 10. Who made it may have been killed before its sync, and a power cut would take it away again."""
    fence, made = servers.first.server.data / "standby.signal", list[int]()

    def die(over: str) -> None:
        if over == "stop":
            raise Died

    def fault(over: str) -> None:
        if over == "promote":
            made.append(fence.stat().st_mtime_ns)

    with pytest.raises(Died):
        make(servers, fault=die)
    before = fence.stat().st_mtime_ns
    make(servers, fault=fault)
    assert look(servers) == InPlace(AFTER)
    assert made[0] > before


def test_a_standby_that_lacks_what_the_stopped_primary_wrote_is_not_promoted_by_the_next_attempt(
    servers: Cluster,
) -> None:
    def die(over: str) -> None:
        if over == "pause":
            with servers.second.server.connect() as standby:
                standby.execute("alter system set primary_conninfo = ''")
                standby.execute("select pg_reload_conf()")
            wait.until(lambda: servers.second.ask("select count(*) from pg_stat_wal_receiver") == 0, LIMIT, "the end")
        if over == "stop":
            raise Died

    with Writer(servers) as client:
        with pytest.raises(Died):
            make(servers, HASTY, fault=die)
        # When the time is over, it may just have been asked how far it is.
        with pytest.raises(SwitchedBack, match=r"db2 did not (replay what its primary had written|answer) in time"):
            make(servers, HASTY)
        client.goes_on()
        assert not servers.second.writable()
    assert client.acknowledged <= servers.ids(servers.first)


@pytest.mark.parametrize("stage", ["pause", "stop", "catch up"])
def test_what_was_cut_short_before_the_promotion_can_be_undone(servers: Cluster, stage: str) -> None:
    def die(over: str) -> None:
        if over == stage:
            raise Died

    with Writer(servers) as client:
        with pytest.raises(Died):
            make(servers, fault=die)
        with world(servers).act() as here:
            STEP.undo(here, BEFORE)
            assert STEP.observe_undone(here, BEFORE) == InPlace(BEFORE)
        client.goes_on()
    assert client.acknowledged <= servers.ids(servers.first)
    assert not servers.second.writable()


@pytest.mark.parametrize("stage", ["stop", "catch up"])
@pytest.mark.parametrize("how", ["gone on with", "undone"])
def test_what_was_cut_short_and_whose_old_primary_somebody_started_is_no_dead_end(
    servers: Cluster, stage: str, how: str
) -> None:
    """As a service manager does. It comes up as a standby, so that nobody takes writes any more."""

    def die(over: str) -> None:
        if over == stage:
            raise Died

    with Writer(servers) as client:
        with pytest.raises(Died):
            make(servers, fault=die)
        servers.first.start()
        if how == "undone":
            with world(servers).act() as here:
                STEP.undo(here, BEFORE)
                assert STEP.observe_undone(here, BEFORE) == InPlace(BEFORE)
        else:
            with pytest.raises(SwitchedBack, match="db1 serves as before: somebody has started it since it was fenced"):
                make(servers)
            client.goes_on()
            make(servers)
            assert look(servers) == InPlace(AFTER)
        client.goes_on()
    assert client.acknowledged <= servers.ids(servers.first if how == "undone" else servers.second)


def test_a_promotion_cannot_be_taken_back_but_the_clients_get_to_the_new_primary(servers: Cluster) -> None:
    def die(over: str) -> None:
        if over == "promote":
            raise Died

    with Writer(servers) as client:
        with pytest.raises(Died):
            make(servers, fault=die)
        with world(servers).act() as here, pytest.raises(Refused, match="db2 has become the primary"):
            STEP.undo(here, BEFORE)
        assert look(servers) == InPlace(AFTER)
        client.goes_on()
        reprotect(servers, "db1", "db2")
        with world(servers).act() as here:
            STEP.undo(here, BEFORE)
        client.goes_on()
    assert client.acknowledged <= servers.ids(servers.first)


def undone(servers: Cluster) -> Callable[[], bool]:
    """Undo it, as often as the engine would: a server that is going down at that moment cannot be asked."""

    def undo() -> bool:
        with world(servers).act() as here:
            try:
                STEP.undo(here, BEFORE)
            except TargetUnreachable:
                return False
        return True

    return undo


def test_the_old_primary_does_not_work_again_while_a_promotion_is_pending(servers: Cluster) -> None:
    """Safety rule 10: the standby answers that it is one, and is about to be none."""

    def halt(over: str) -> None:
        if over == "catch up":
            process_tree.halt(servers.second.startup_process())

    with pytest.raises(TargetUnreachable, match="did not become writable in time"):
        make(servers, fault=halt, timeout=4)
    assert not servers.second.writable()
    with world(servers).act(timeout=3) as here, pytest.raises(TargetUnreachable):
        STEP.undo(here, BEFORE)
    assert not servers.first.answers()
    servers.second.startup_process().resume()
    with suppress(Refused):  # whichever came first, the promotion or the undo
        wait.until(undone(servers), LIMIT, "the undo")
    assert [node.writable() for node in servers.nodes].count(True) == 1


def test_a_run_does_not_touch_what_another_run_has_stopped(servers: Cluster) -> None:
    def die(over: str) -> None:
        if over == "stop":
            raise Died

    with pytest.raises(Died):
        make(servers, fault=die)
    with world(servers).act() as here:
        here.run = "another"
        with pytest.raises(NotReady, match="db1 is fenced, not writable"):
            STEP.apply(here)
    assert not servers.first.answers()
    make(servers)
