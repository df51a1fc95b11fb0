import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.duration import Duration, decode_hook
from dr.core.step import InPlace, NotInPlace, Observation, OutOfTime, StopRequested
from dr.core.tolerance import Accepts
from dr.demo import wait
from dr.demo.postgres import Pair
from dr.steps.health_verify import HealthVerify, HttpCheck, Latency, ReplicationCheck, SqlCheck, percentile
from dr.targets.http_endpoint import Http
from dr.targets.postgresql import Postgresql
from tests.here import TestHere, World
from tests.website import Site, website


@pytest.fixture
def site() -> Iterator[Site]:
    with website() as served:
        yield served


@pytest.fixture
def world(site: Site) -> World:
    return World({"shop": Http(url=site.url)})


def step(*checks: Any, **changes: Any) -> HealthVerify:
    quick = {"within": Duration(0), "every": Duration(0.05), "hold": Duration(0)}
    return HealthVerify(checks=checks, **{**quick, **changes})


def shop(**changes: Any) -> HttpCheck:
    return HttpCheck(target="shop", **changes)


def findings(seen: Observation) -> Any:
    assert isinstance(seen, NotInPlace)
    return seen.evidence["findings"]


def let_pass(seconds: float) -> None:
    """Return when that much time is over."""
    end = time.monotonic() + seconds
    wait.until(lambda: time.monotonic() > end, 30, "the time is over")


class Looking:
    """A look in a thread, so that the world can change meanwhile."""

    def __init__(self, which: HealthVerify, here: TestHere) -> None:
        self.seen: Observation | None = None
        self._thread = threading.Thread(target=self._run, args=(which, here))
        self._thread.start()

    def _run(self, which: HealthVerify, here: TestHere) -> None:
        self.seen = which.observe(here)

    def wait(self) -> Observation:
        self._thread.join(60)
        assert self.seen is not None
        return self.seen


def test_a_page_that_is_well_is_in_place(world: World, site: Site) -> None:
    seen = world.observe(step(shop(probes=3, body=Accepts(regex="^Welcome"), latency=Latency(at_most=Duration(30)))))
    assert isinstance(seen, InPlace)
    assert site.asked == 3


def test_what_is_wrong_with_a_page_is_said_in_words(world: World, site: Site) -> None:
    site.answers = [503, 200, 503]
    assert findings(world.observe(step(shop(path="/cart", probes=3)))) == [
        "shop /cart: status 503, well is 200 (2 of 3)"
    ]
    site.body = b"Sorry \xff"
    assert findings(world.observe(step(shop(body=Accepts(regex="Welcome"))))) == [
        "shop /: the page is not matching /Welcome/ (1 of 1)"
    ]
    [slow] = findings(world.observe(step(shop(latency=Latency(at_most=Duration(0), percentile=50)))))
    assert slow.startswith("shop /: 50% within ")
    assert slow.endswith(" ms, well is within 0s")


def test_a_page_that_does_not_answer_is_a_finding_and_no_doubt(world: World, site: Site) -> None:
    site.gate.clear()
    assert findings(world.observe(step(shop(timeout=Duration(0.05))))) == ["shop /: no answer in time (1 of 1)"]
    site.gate.set()
    nobody = World({"shop": Http(url="http://127.0.0.1:1")})
    assert findings(nobody.observe(step(shop()))) == ["shop /: Connection refused (1 of 1)"]


def test_probes_of_one_round_run_side_by_side_up_to_a_limit(world: World, site: Site) -> None:
    site.gate.clear()
    with world.look() as here:
        looking = Looking(step(shop(probes=20), shop(path="/cart", probes=20)), here)
        wait.until(lambda: site.together >= 16, 30, "as many as may are under way")
        assert site.asked == 16
        site.gate.set()
        assert isinstance(looking.wait(), InPlace)
    assert (site.together, site.asked) == (16, 40)


def test_one_failure_begins_the_hold_time_anew(world: World, site: Site) -> None:
    hold = Duration(0.2)
    site.answers = [200, 503]
    site.before_answer = lambda number: let_pass(hold) if number == 2 else None
    assert isinstance(world.observe(step(shop(), within=Duration(30), hold=hold)), InPlace)
    assert site.asked > 3  # by the third answer the first is older than the hold time, and still does not count


def test_one_slow_round_is_no_proof_of_lasting(world: World, site: Site) -> None:
    hold = Duration(0.1)
    site.before_answer = lambda number: let_pass(hold) if number == 1 else None
    assert isinstance(world.observe(step(shop(), within=Duration(30), hold=hold)), InPlace)
    assert site.asked > 1


def test_a_site_that_recovers_in_time_is_waited_for(world: World, site: Site) -> None:
    site.status = 503
    with world.look() as here:
        looking = Looking(step(shop(), within=Duration(30)), here)
        wait.until(lambda: bool(here.said), 30, "it was seen failing")
        site.status = 200
        assert isinstance(looking.wait(), InPlace)


def test_a_site_that_does_not_recover_in_time_has_deviated(world: World, site: Site) -> None:
    site.status = 503
    seen = world.observe(step(shop(), within=Duration(0.2)))
    assert findings(seen) == ["shop /: status 503, well is 200 (1 of 1)"]
    assert site.asked > 1


def test_a_stop_is_heard_between_two_rounds(world: World, site: Site) -> None:
    site.status = 503
    with world.look() as here:
        here.stop.set()
        with pytest.raises(StopRequested):
            step(shop(), within=Duration(3600)).observe(here)
    with pytest.raises(OutOfTime):
        world.observe(step(shop(), within=Duration(3600)), timeout=0.3)


def databases(pair: Pair) -> World:
    targets = {"primary": Postgresql(dsn="env:PRIMARY"), "standby": Postgresql(dsn="env:STANDBY")}
    return World(targets, {"env:PRIMARY": pair.primary.dsn, "env:STANDBY": pair.standby.dsn})


def test_a_query_gives_a_value_within_its_tolerance_or_a_finding(postgres_pair: Pair) -> None:
    world = databases(postgres_pair)
    query = SqlCheck(target="primary", query="select 5", value=Accepts(range=(0, 5)))
    assert isinstance(world.observe(step(query)), InPlace)
    for wrong, said in [
        (SqlCheck(target="primary", query="select 6", value=5), "primary: 6, well is 5"),
        (SqlCheck(target="primary", query="select 1 where false", value=5), "primary: None, well is 5"),
        (SqlCheck(target="primary", query="select repeat('x', 9999)", value=5), "primary: " + "x" * 291),
    ]:
        assert findings(world.observe(step(wrong))) == [said]
    [refused] = findings(world.observe(step(SqlCheck(target="primary", query="drop table x", value=1))))
    assert refused.startswith("primary refuses the query: ")


def test_replication_that_keeps_up_is_well(postgres_pair: Pair) -> None:
    world = databases(postgres_pair)
    check = ReplicationCheck(primary="primary", standby="standby", max_lag=Duration(5))
    assert isinstance(world.observe(step(check, within=Duration(30))), InPlace)
    wrong = ReplicationCheck(primary="standby", standby="primary", max_lag=Duration(5))
    assert findings(world.observe(step(wrong))) == ["primary is not a standby"]


def test_replication_that_lags_is_a_finding(fresh_postgres_pair: Pair) -> None:
    with fresh_postgres_pair.standby.connect() as standby, fresh_postgres_pair.primary.connect() as primary:
        standby.execute("select pg_wal_replay_pause()")
        primary.execute("create table news as select generate_series(1, 1000)")
    check = ReplicationCheck(primary="primary", standby="standby", max_lag=Duration(0.1))
    [said] = findings(databases(fresh_postgres_pair).observe(step(check)))
    assert said.startswith("standby: ")
    assert said.endswith(" bytes) behind primary, well is at most 100ms")


def test_a_database_that_comes_back_is_asked_again(fresh_postgres_pair: Pair) -> None:
    primary = fresh_postgres_pair.primary
    patient = step(SqlCheck(target="primary", query="select 1", value=1), within=Duration(600), every=Duration(0.1))
    primary.stop()
    with databases(fresh_postgres_pair).look(timeout=600) as here:
        looking = Looking(patient, here)
        wait.until(lambda: bool(here.said), 30, "it was seen gone")
        primary.start()
        assert isinstance(looking.wait(), InPlace)


def test_the_preview_is_one_round_in_words(world: World, site: Site) -> None:
    site.answers = [200, 500]
    with world.look() as here:
        seen: Any = step(shop(), within=Duration(3600)).preview(here)
        assert (len(seen["well"]), seen["not_well"]) == (1, [])
        seen = step(shop(), within=Duration(3600)).preview(here)
        assert (seen["well"], len(seen["not_well"])) == ([], 1)


@pytest.mark.parametrize("percent,value", [(1, 10), (50, 20), (75, 30), (76, 40), (95, 40), (100, 40)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile([30, 10, 40, 20], percent) == value


@pytest.mark.parametrize(
    "wrong",
    [
        {"checks": []},
        {"every": "10ms"},
        {"checks": [{"probe": "ping", "target": "shop"}]},
        {"checks": [{"probe": "http", "target": "shop", "path": "no-slash"}]},
        {"checks": [{"probe": "http", "target": "shop", "probes": 0}]},
        {"checks": [{"probe": "http", "target": "shop", "latency": {"at_most": "1s", "percentile": 0}}]},
        {"checks": [{"probe": "sql", "target": "db", "query": "select 1"}]},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    right = {"checks": [{"probe": "http", "target": "shop"}], "every": "1s"}
    assert msgspec.convert(right, HealthVerify, dec_hook=decode_hook)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**right, **wrong}, HealthVerify, dec_hook=decode_hook)


def test_the_summary_says_what_well_means() -> None:
    checks = (
        shop(latency=Latency(at_most=Duration(1))),
        SqlCheck(target="primary", query="select count(*) from t", value=Accepts(range=(1, 10))),
        ReplicationCheck(primary="primary", standby="standby", max_lag=Duration(5)),
    )
    assert HealthVerify(checks=checks, hold=Duration(5)).summary() == (
        "Verify within 30s, for 5s: shop / answers 200 (95% within 1s); primary says from 1 to 10 to its query; "
        "standby is at most 5s behind primary"
    )
