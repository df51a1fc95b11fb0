"""What every router holds, whatever it moves: above all that it moves, seen at both ends and not said by it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPException
from itertools import count, cycle
from pathlib import Path

import msgspec
import psycopg
import pytest
from dns.exception import DNSException
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from dr.demo import wait
from dr.demo.postgres import Pair as Postgres
from dr.targets.catalogue import TARGET_TYPES
from dr.targets.flagd import FlagdReads, FlagdTraffic
from dr.targets.postgresql import Postgresql
from dr.targets.protocols import Database, Share, TargetConfig, TargetUnreachable, TrafficRouter
from tests.background import repeating
from tests.bouncer import APPLICATION, bouncer
from tests.haproxy import haproxy, started, traffic
from tests.here import Secrets, opened
from tests.name_server import NameServer, address, resolver, serving
from tests.website import Pair, two_sites, visit, website
from tests.zone import Zone

READ = "select pg_sleep(0.002)"
WINDOW = 0.3
VISITS = 20
"""So many are looked at: of as many that go to both sites, some are at each."""
FLAG = {
    "state": "ENABLED",
    "variants": {"primary": "primary", "standby": "standby"},
    "defaultVariant": "primary",
}


class Site(msgspec.Struct, frozen=True):
    """A router, the same one that cannot be asked, and what it routes."""

    config: TargetConfig
    lost: TargetConfig
    use: Callable[[], object]
    """A read, or a visit, as the application or its users make it."""
    seen: Callable[[], tuple[bool, bool]]
    """Whether use is seen at the primary right now, and at the standby: by themselves, not by the router."""
    kept: float = 0.0
    """Seconds for which users keep what they were told."""


@contextmanager
def evaluated(path: Path, flag: str) -> Iterator[Callable[[], str]]:
    """How an application evaluates the flag for the next user."""
    path.write_text(json.dumps({"flags": {flag: FLAG}}))
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=100)
    api.set_provider_and_wait(provider)
    client, users = api.get_client(), count()

    def variant() -> str:
        return client.get_string_value(flag, "none", EvaluationContext(targeting_key=f"user-{next(users)}"))

    try:
        yield variant
    finally:
        api.shutdown()
        api.clear_providers()


@contextmanager
def by_flag(folder: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    path = folder / "flags.json"
    config = FlagdReads(path=str(path), flag="read-from", primary="primary", standby="standby", application=APPLICATION)
    lost = msgspec.structs.replace(config, path=str(folder / "missing.json"))
    with (
        databases(request) as (pair, seen),
        evaluated(path, "read-from") as variant,
        session(pair.primary.dsn) as primary,
        session(pair.standby.dsn) as standby,
    ):
        servers = {"primary": primary, "standby": standby}
        yield Site(config, lost, lambda: servers[variant()].execute(READ), seen)


@contextmanager
def by_pgbouncer(_: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with databases(request) as (pair, seen), bouncer(pair) as running:
        config = running.config("catalog_ro", "search_ro")
        with running.connect("catalog_ro") as catalog, running.connect("search_ro") as search:
            clients = count()
            yield Site(
                config,
                msgspec.structs.replace(config, console="127.0.0.1:1"),
                lambda: (catalog, search)[next(clients) % 2].execute(READ),
                seen,
            )


@contextmanager
def by_haproxy(folder: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with databases(request) as (pair, seen), haproxy(pair) as running:

        def read() -> None:
            with running.connect() as client:
                client.execute(READ)

        yield Site(running.config(), running.config(socket=str(folder / "missing.sock")), read, seen)


@contextmanager
def users_by_flag(folder: Path, _: pytest.FixtureRequest) -> Iterator[Site]:
    path = folder / "flags.json"
    config = FlagdTraffic(path=str(path), flag="site")
    lost = msgspec.structs.replace(config, path=str(folder / "missing.json"))
    with two_sites() as pair, evaluated(path, "site") as variant:
        sites = {"primary": pair.here, "standby": pair.there}
        yield Site(config, lost, lambda: visit(sites[variant()].address, pair.port), lambda: visited(pair))


@contextmanager
def users_by_haproxy(folder: Path, _: pytest.FixtureRequest) -> Iterator[Site]:
    with website() as here, website() as there, started(here.port, there.port) as (place, door):
        lost = traffic(place, socket=str(folder / "missing.sock"))
        yield Site(traffic(place), lost, lambda: visit("127.0.0.1", door), lambda: visited(Pair(here, there)))


@contextmanager
def users_by_route53(_: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each user has a resolver of his own, which keeps what it is told for a second."""
    localstack = request.getfixturevalue("localstack")
    request.getfixturevalue("aws_credentials")
    with two_sites() as pair:
        zone = Zone(localstack, {"here": 100, "there": 0}, at=pair.addresses, ttl=1)
        with serving(NameServer(zone).answer) as place:
            resolvers = cycle([resolver(place) for _ in range(10)])
            config = zone.traffic(localstack)
            lost = msgspec.structs.replace(config, endpoint="http://127.0.0.1:1")
            yield Site(config, lost, lambda: visit(address(next(resolvers)), pair.port), lambda: visited(pair), kept=1)


SITES = {
    "flagd-reads": by_flag,
    "pgbouncer-reads": by_pgbouncer,
    "haproxy-reads": by_haproxy,
    "flagd-traffic": users_by_flag,
    "haproxy-traffic": users_by_haproxy,
    "route53-traffic": users_by_route53,
}
ERRORS = (psycopg.Error, OSError, HTTPException, DNSException)


def session(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(f"{dsn} application_name={APPLICATION}", autocommit=True)


@contextmanager
def databases(request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, Callable[[], tuple[bool, bool]]]]:
    """The two servers, and whether each of them has reads right now."""
    pair = request.getfixturevalue("postgres_pair")
    with database(pair.primary.dsn) as primary, database(pair.standby.dsn) as standby:
        yield (
            pair,
            lambda: (primary.reads_seen(APPLICATION, WINDOW) > 0, standby.reads_seen(APPLICATION, WINDOW) > 0),
        )


def visited(pair: Pair) -> tuple[bool, bool]:
    """Which of the two sites get some of the next visits."""
    before = sum(pair.asked)
    wait.until(lambda: sum(pair.asked) > before, 30, "there are visits")  # one was under way
    here, there = pair.asked
    wait.until(lambda: sum(pair.asked) >= here + there + VISITS, 30, "there are visits")
    return pair.here.asked > here, pair.there.asked > there


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with SITES[request.param](tmp_path, request) as made:
        yield made


def used(site: Site) -> AbstractContextManager[list[Exception]]:
    """The application reads, or its users visit it, again and again; yields the errors they get."""
    return repeating(site.use, expected=ERRORS)


@contextmanager
def database(dsn: str) -> Iterator[Database]:
    with opened(Postgresql(dsn="env:DSN"), timeout=120, secrets=Secrets({"env:DSN": dsn})) as server:
        yield server


def test_every_technology_that_routes_is_held_to_this() -> None:
    routers = {"ReadRouter", "TrafficRouter"}
    assert SITES.keys() == {name for name, kind in TARGET_TYPES.items() if routers & set(kind.speaks)}


def test_what_it_routes_is_seen_where_it_is_sent_and_nowhere_else_and_none_fails(site: Site) -> None:
    with opened(site.config, timeout=120) as router, used(site) as errors:
        half = next(share for share in router.shares() if share >= 50)
        for percent in (0, half, 100, 0):
            router.shift(Share(standby=percent))

            def as_sent(percent: int = percent) -> bool:
                return site.seen() == (percent < 100, percent > 0)

            wait.until(as_sent, 60, f"all goes where {percent}% sends it, and nowhere else")
    assert not errors


def test_it_tells_for_how_long_somebody_may_go_on_as_before(site: Site) -> None:
    with opened(site.config) as router:
        assert router.time_to_live() == site.kept


def test_its_shares_rise_from_none_to_all_and_each_can_be_set_and_read_back(site: Site) -> None:
    with opened(site.config) as router:
        _: TrafficRouter = router
        shares = router.shares()
        assert list(shares) == sorted(set(shares))
        assert (shares[0], shares[-1]) == (0, 100)
        for percent in {*shares[:3], *shares[-3:]}:
            router.shift(Share(standby=percent))
            assert router.share() == Share(standby=percent)


def test_what_is_in_force_outlives_whoever_set_it_and_setting_it_again_is_harmless(site: Site) -> None:
    for _ in range(2):
        with opened(site.config) as router:
            router.shift(Share(standby=100))
        with opened(site.config) as another:
            another.ping()
            assert another.share() == Share(standby=100)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_that_cannot_be_is_refused_and_changes_nothing(site: Site, percent: int) -> None:
    with opened(site.config) as router:
        before = router.share()
        with pytest.raises(LookupError, match=f"{percent} "):
            router.shift(Share(standby=percent))
        assert router.share() == before


def test_a_router_that_cannot_be_asked_is_unreachable(site: Site) -> None:
    with pytest.raises(TargetUnreachable), opened(site.lost) as router:
        router.ping()
