import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from dr.core.duration import Duration, decode_hook
from dr.core.step import Evidence, InPlace, NotInPlace, StopRequested, Unknown
from dr.demo import wait
from dr.demo.postgres import Pair
from dr.shifting import ErrorLimit, ShiftedBack
from dr.steps.reads_shift import NoRoom, ReadsShift
from dr.targets.flagd import FlagdReads
from dr.targets.http_endpoint import Http
from dr.targets.postgresql import Postgresql
from dr.targets.protocols import Database, Overloaded, ReadRouter, TargetConfig, TargetUnreachable
from tests.background import repeating
from tests.bouncer import APPLICATION, bouncer
from tests.haproxy import haproxy
from tests.here import TestHere, World
from tests.website import website

FLAGS = {
    "flags": {
        "read-from": {
            "state": "ENABLED",
            "variants": {"primary": "primary", "standby": "standby"},
            "defaultVariant": "primary",
        }
    }
}
READ = "/*feature='home'*/ select 1"
WRITE = "/*feature='checkout'*/ insert into pg_temp.orders select 1"


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(FLAGS))
    return path


def world_of(pair: Pair, router: TargetConfig, **more: TargetConfig) -> World:
    targets = {"primary": Postgresql(dsn="env:PRIMARY"), "standby": Postgresql(dsn="env:STANDBY"), "reads": router}
    return World(targets | more, {"env:PRIMARY": pair.primary.dsn, "env:STANDBY": pair.standby.dsn})


def by_flag(flags: Path) -> FlagdReads:
    return FlagdReads(path=str(flags), flag="read-from", primary="primary", standby="standby", application=APPLICATION)


def step(**changes: Any) -> ReadsShift:
    quick = {"settle": Duration(0.2), "seen_within": Duration(20), "max_lag": Duration(5)}
    return ReadsShift(**{"router": "reads", **quick, **changes})


def share(world: World) -> int:
    with world.look() as here:
        return here.reach(ReadRouter, "reads").share().standby


def until_its_server_is_gone(work: Callable[[], object]) -> AbstractContextManager[object]:
    """The work is done again and again; in vain once its server is gone."""
    return repeating(work, every=0.001, expected=psycopg.OperationalError)


@contextmanager
def shop(pair: Pair, flags: Path) -> Iterator[None]:
    """An application that reads where OpenFeature tells it to, user by user, and always writes to the primary."""
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(flags), deadline_ms=100)
    api.set_provider_and_wait(provider)
    client = api.get_client()
    users = iter(range(10**9))
    with session(pair.primary.dsn) as primary, session(pair.standby.dsn) as standby:
        primary.execute("create temp table orders (number int)")
        servers = {"primary": primary, "standby": standby}

        def visit() -> None:
            user = EvaluationContext(targeting_key=f"user-{next(users)}")
            servers[client.get_string_value("read-from", "none", user)].execute(READ)
            primary.execute(WRITE)

        with until_its_server_is_gone(visit):
            yield
    api.shutdown()
    api.clear_providers()


def session(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(f"{dsn} application_name={APPLICATION}", autocommit=True)


def undo_and_look(world: World, which: ReadsShift, before: Evidence) -> object:
    with world.act() as here:
        which.undo(here, before)
    with world.act() as here:
        return which.observe_undone(here, before)


def test_reads_move_in_stages_are_seen_on_both_servers_and_come_back(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    with shop(postgres_pair, flags):
        with world.look() as here:
            before = step().observe(here)
        assert before == NotInPlace({"standby_percent": 0})
        with world.act() as here:
            claim: Any = step().apply(here)
        assert [stage["standby_percent"] for stage in claim["stages"]] == [25, 50, 100]
        with world.act() as here:
            seen = step().observe(here)
        assert isinstance(seen, InPlace)
        reads: Any = seen.evidence["reads_seen"]
        assert reads["standby"] > 0
        assert reads["primary"] == 0
        assert isinstance(undo_and_look(world, step(), before.evidence), InPlace)
        assert share(world) == 0


def test_a_goal_in_between_needs_reads_on_both_servers(postgres_pair: Pair, flags: Path) -> None:
    half = step(stages=(50,))
    world = world_of(postgres_pair, by_flag(flags))
    with shop(postgres_pair, flags):
        with world.act() as here:
            half.apply(here)
        with world.act() as here:
            seen = half.observe(here)
    assert isinstance(seen, InPlace)
    reads: Any = seen.evidence["reads_seen"]
    assert min(reads["standby"], reads["primary"]) > 0


def test_back_to_the_primary_is_the_same_the_other_way(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    flags.write_text(json.dumps(FLAGS).replace('"defaultVariant": "primary"', '"defaultVariant": "standby"'))
    back = step(to="primary", stages=(30, 100))
    with shop(postgres_pair, flags):
        with world.look() as here:
            assert back.observe(here) == NotInPlace({"standby_percent": 100})
        with world.act() as here:
            claim: Any = back.apply(here)
        assert [stage["standby_percent"] for stage in claim["stages"]] == [70, 0]
        with world.act() as here:
            assert isinstance(back.observe(here), InPlace)


def test_without_traffic_nobody_knows_whether_it_moved(postgres_pair: Pair, flags: Path) -> None:
    quick = step(seen_within=Duration(0.2))
    world = world_of(postgres_pair, by_flag(flags))
    with world.act() as here:
        quick.apply(here)
    with world.act() as here:
        seen = quick.observe(here)
    assert seen == Unknown("no read of the application 'shop-reads' was seen on either server")


def test_a_part_of_the_application_that_does_not_obey_is_seen(postgres_pair: Pair, flags: Path) -> None:
    quick = step(seen_within=Duration(0.2))
    world = world_of(postgres_pair, by_flag(flags))
    with (
        session(postgres_pair.primary.dsn) as stubborn,
        session(postgres_pair.standby.dsn) as obedient,
        until_its_server_is_gone(lambda: (stubborn.execute(READ), obedient.execute(READ))),
    ):
        with world.act() as here:
            quick.apply(here)
        with world.act() as here:
            seen = quick.observe(here)
    assert isinstance(seen, NotInPlace)
    findings: Any = seen.evidence["findings"]
    [said] = findings
    assert re.fullmatch(r"100% should go to standby; seen: \d+ on standby, \d+ on primary", said)


def test_a_standby_that_lags_gets_no_read_at_all(fresh_postgres_pair: Pair, flags: Path) -> None:
    strict = step(max_lag=Duration(0.1))
    world = world_of(fresh_postgres_pair, by_flag(flags))
    pause_replay(fresh_postgres_pair)
    before = flags.read_bytes()
    with (
        world.act() as here,
        pytest.raises(Exception, match=r"standby is .* s \(\d+ bytes\) behind primary, at most 100ms"),
    ):
        strict.apply(here)
    assert flags.read_bytes() == before


@contextmanager
def sessions(dsn: str, count: int, application: str = APPLICATION) -> Iterator[None]:
    """So many idle sessions."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(psycopg.connect(f"{dsn} application_name={application}"))
        yield


def test_a_standby_without_room_for_what_would_come_gets_no_read_at_all(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    before = flags.read_bytes()
    quick = {"settle": Duration(0)}
    with sessions(postgres_pair.standby.dsn, 86, "reports"), sessions(postgres_pair.primary.dsn, 14):
        said = (
            r"standby has \d+ connections free \(\d+ of 97 are in use\), but 14 of 'shop-reads' would come from primary"
        )
        with world.act() as here, pytest.raises(NoRoom, match=said):
            step(**quick).apply(here)
        with world.act() as here, pytest.raises(NoRoom, match=said):
            step(to="primary").undo(here, {"standby_percent": 100})
        assert flags.read_bytes() == before
        with world.look() as here:
            assert step().preview(here)["connections_coming"] == 14
        with world.act() as here:
            claim = step(stages=(50,), **quick).apply(here)
        assert claim["connections_coming"] == 7
        with world.act() as here:
            step(check_room=False, **quick).apply(here)
    assert share(world) == 100


def test_what_the_application_has_on_the_standby_already_does_not_come(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    with sessions(postgres_pair.standby.dsn, 6), sessions(postgres_pair.primary.dsn, 4), world.look() as here:
        coming = {percent: step(stages=(percent,)).preview(here)["connections_coming"] for percent in (60, 61, 100)}
    assert coming == {60: 0, 61: 1, 100: 4}


def test_a_primary_without_a_free_connection_is_called_overloaded(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    with (
        sessions(fresh_postgres_pair.primary.dsn, 100),
        world.act() as here,
        pytest.raises(Overloaded, match=r"too many clients already\. It is overloaded, not dead: end what fills it"),
    ):
        step().apply(here)


def test_a_primary_that_only_dr_cannot_reach_is_not_called_dead(postgres_pair: Pair, flags: Path) -> None:
    elsewhere = Postgresql(dsn="host=127.0.0.1 port=1 user=postgres")
    world = world_of(postgres_pair, by_flag(flags), primary=elsewhere)
    with (
        world.act() as here,
        pytest.raises(TargetUnreachable, match=r"refused.* It is not dead but overloaded, or out of reach from here"),
    ):
        step().apply(here)


def test_a_primary_that_the_standby_lost_too_is_called_dead(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    fresh_postgres_pair.primary.kill()
    with world.look() as here:
        standby = here.reach(Database, "standby")
        wait.until(lambda: not standby.receives(), 30, "the standby has lost its primary")
    for which in (step(), step(to="primary")):
        flags.write_text(flags.read_text().replace('"defaultVariant": "primary"', '"defaultVariant": "standby"'))
        with world.act() as here, pytest.raises(TargetUnreachable, match="It seems dead, not overloaded"):
            which.apply(here)
    assert share(world) == 100
    fresh_postgres_pair.standby.kill()
    with world.act() as here, pytest.raises(TargetUnreachable, match="Whether it is dead or overloaded is not known"):
        step(to="primary").apply(here)


class Attempt:
    """An apply that runs in a thread, so that the world can change meanwhile."""

    def __init__(self, which: ReadsShift, here: TestHere) -> None:
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(which, here))
        self._thread.start()

    def _run(self, which: ReadsShift, here: TestHere) -> None:
        try:
            which.apply(here)
        except (ShiftedBack, TargetUnreachable, StopRequested) as error:
            self.error = error

    def wait(self) -> Exception | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error


@contextmanager
def first_stage(world: World, **changes: Any) -> Iterator[tuple[Attempt, TestHere]]:
    """A shift that watches its first stage for as long as it takes."""
    with world.act(timeout=600) as here:
        attempt = Attempt(step(settle=Duration(300), **changes), here)
        try:
            wait.until(lambda: bool(here.said), 30, "the first stage is set")
            yield attempt, here
        finally:
            here.stop.set()
            attempt.wait()


def pause_replay(pair: Pair) -> None:
    """The standby receives, but shows nothing new, and the primary goes on writing."""
    with pair.standby.connect() as standby, pair.primary.connect() as primary:
        standby.execute("select pg_wal_replay_pause()")
        primary.execute("create table news as select generate_series(1, 1000)")


def test_lag_during_a_stage_shifts_the_reads_back_by_itself(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    with first_stage(world, max_lag=Duration(0.3)) as (attempt, _):
        assert share(world) == 25
        pause_replay(fresh_postgres_pair)
        error = attempt.wait()
    assert isinstance(error, ShiftedBack)
    assert "shifted back to 0% on the standby: standby is" in str(error)
    assert share(world) == 0
    with world.act() as here:
        assert step().observe(here) == NotInPlace({"standby_percent": 0})


def test_a_standby_that_vanishes_loses_its_reads_at_once(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    with first_stage(world) as (attempt, _):
        fresh_postgres_pair.standby.kill()
        assert isinstance(attempt.wait(), ShiftedBack)
    assert share(world) == 0


def test_a_standby_that_was_promoted_loses_its_reads_at_once(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    with first_stage(world) as (attempt, _):
        with fresh_postgres_pair.standby.connect() as standby:
            standby.execute("select pg_promote(false)")
        error = attempt.wait()
    assert isinstance(error, ShiftedBack)
    assert "standby is not a standby" in str(error)
    assert share(world) == 0


def test_reads_are_never_shifted_back_to_a_primary_that_is_gone(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    with first_stage(world) as (attempt, _):
        fresh_postgres_pair.primary.kill()
        assert isinstance(attempt.wait(), TargetUnreachable)
    assert share(world) == 25


def test_a_stop_leaves_the_stage_as_it_stands(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    with first_stage(world) as (attempt, here):
        here.stop.set()
        assert isinstance(attempt.wait(), StopRequested)
    assert share(world) == 25


def test_a_page_that_begins_to_fail_shifts_the_reads_back_by_itself(postgres_pair: Pair, flags: Path) -> None:
    with website() as site:
        world = world_of(postgres_pair, by_flag(flags), shop=Http(url=site.url))
        with first_stage(world, errors=ErrorLimit(target="shop")) as (attempt, _):
            site.status = 500
            error = attempt.wait()
    assert isinstance(error, ShiftedBack)
    assert str(error) == "shifted back to 0% on the standby: shop / fails: status 500"
    assert share(world) == 0


def test_as_many_requests_may_fail_as_the_limit_says(postgres_pair: Pair, flags: Path) -> None:
    with website() as site:
        world = world_of(postgres_pair, by_flag(flags), shop=Http(url=site.url))
        half = ErrorLimit(target="shop", probes=4, at_most=50)
        site.answers = [500, 200, 503, 404]
        with world.act() as here:
            step(stages=(25,), settle=Duration(0), errors=half).apply(here)
        site.answers = [500, 200, 503, 500]
        with world.act() as here, pytest.raises(ShiftedBack, match="shop / fails: status 500"):
            step(stages=(50,), settle=Duration(0), errors=half).apply(here)
        assert share(world) == 25
    gone = world_of(postgres_pair, by_flag(flags), shop=Http(url="http://127.0.0.1:1"))
    with gone.act() as here, pytest.raises(ShiftedBack, match=r"shop / fails: .*Connection refused"):
        step(stages=(50,), errors=half).apply(here)
    assert share(world) == 25


def test_the_preview_says_where_the_reads_go_and_how_far_the_standby_is(postgres_pair: Pair, flags: Path) -> None:
    world = world_of(postgres_pair, by_flag(flags))
    with world.look() as here:
        seen = step().preview(here)
    assert seen["standby_percent"] == 0
    assert isinstance(seen["lag_seconds"], float)


def test_an_undo_does_not_send_reads_to_a_standby_that_lags(fresh_postgres_pair: Pair, flags: Path) -> None:
    world = world_of(fresh_postgres_pair, by_flag(flags))
    pause_replay(fresh_postgres_pair)
    back = step(to="primary", max_lag=Duration(0.1))
    with world.act() as here, pytest.raises(Exception, match="behind primary"):
        back.undo(here, {"standby_percent": 100})
    assert share(world) == 0


def test_through_pgbouncer_the_same_runbook_takes_the_stages_it_can(postgres_pair: Pair) -> None:
    with bouncer(postgres_pair) as running:
        config = msgspec.structs.replace(
            running.config("catalog_ro", "search_ro"), primary="primary", standby="standby"
        )
        world = world_of(postgres_pair, config)
        with (
            running.connect("catalog_ro") as catalog,
            running.connect("search_ro") as search,
            until_its_server_is_gone(lambda: (catalog.execute(READ), search.execute(READ))),
        ):
            with world.act() as here:
                claim: Any = step().apply(here)
            assert [stage["standby_percent"] for stage in claim["stages"]] == [50, 100]
            with world.act() as here:
                assert isinstance(step().observe(here), InPlace)
            assert isinstance(undo_and_look(world, step(), {"standby_percent": 0}), InPlace)
        with world.act() as here, pytest.raises(LookupError, match="cannot send 25% to the standby, only"):
            step(stages=(25,)).apply(here)


def test_what_a_crash_left_unfinished_at_the_goal_is_finished_by_the_next_attempt(postgres_pair: Pair) -> None:
    """HAProxy has the weights, and dr died before it ended the sessions on the primary."""
    once = step(stages=(100,), seen_within=Duration(0.2))
    with haproxy(postgres_pair) as running, running.connect() as stays, running.connect() as leaves:
        world = world_of(postgres_pair, running.config(end_sessions=True))
        running.ask("set server reads/second weight 100")
        running.ask("set server reads/first weight 0")
        with until_its_server_is_gone(lambda: stays.execute(READ)):
            with world.look() as here:
                assert isinstance(once.observe(here), NotInPlace)
            with world.act() as here:
                once.apply(here)
        with pytest.raises(psycopg.OperationalError):
            leaves.execute(READ)
        with running.connect() as again, until_its_server_is_gone(lambda: again.execute(READ)), world.act() as here:
            assert isinstance(once.observe(here), InPlace)


@pytest.mark.parametrize("stages", [[50, 25], [50, 50], [0, 100], [101], []])
def test_stages_must_rise_from_1_to_100(stages: list[int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"router": "reads", "stages": stages}, ReadsShift, dec_hook=decode_hook)


def test_the_summary_says_the_stages_and_what_turns_back() -> None:
    assert step(errors=ErrorLimit(target="shop", path="/cart")).summary() == (
        "Shift the reads of reads to the standby: 25%, 50%, 100%, each watched for 200ms; "
        "back if it is more than 5s behind or shop /cart fails"
    )
    assert step(to="primary", stages=(100,)).summary() == (
        "Shift the reads of reads to the primary: 100%, each watched for 200ms"
    )
