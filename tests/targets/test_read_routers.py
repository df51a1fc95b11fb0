"""What every router holds, whatever it moves; and of reads, that they move: seen on both databases, not said by it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec
import psycopg
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from dr.demo import wait
from dr.demo.postgres import Pair
from dr.targets.catalogue import TARGET_TYPES
from dr.targets.flagd import FlagdReads, FlagdTraffic
from dr.targets.postgresql import Postgresql
from dr.targets.protocols import Database, Share, TargetConfig, TargetUnreachable, TrafficRouter
from tests.bouncer import APPLICATION, bouncer
from tests.haproxy import haproxy
from tests.here import Secrets, opened
from tests.zone import Zone

READ = "select pg_sleep(0.002)"
WINDOW = 0.3
FLAG = {
    "state": "ENABLED",
    "variants": {"primary": "primary", "standby": "standby"},
    "defaultVariant": "primary",
}


class Site(msgspec.Struct, frozen=True):
    """A router, the same one that cannot be asked, and a read of the application it routes (if it routes reads)."""

    config: TargetConfig
    lost: TargetConfig
    read: Callable[[], object] = lambda: None


@contextmanager
def by_flag(pair: Pair, folder: Path) -> Iterator[Site]:
    path = folder / "flags.json"
    path.write_text(json.dumps({"flags": {"read-from": FLAG}}))
    config = FlagdReads(path=str(path), flag="read-from", primary="primary", standby="standby", application=APPLICATION)
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=100)
    api.set_provider_and_wait(provider)
    client, users = api.get_client(), count()
    servers = {"primary": session(pair.primary.dsn), "standby": session(pair.standby.dsn)}

    def read() -> None:
        user = EvaluationContext(targeting_key=f"user-{next(users)}")
        servers[client.get_string_value("read-from", "none", user)].execute(READ)

    try:
        yield Site(config, msgspec.structs.replace(config, path=str(folder / "missing.json")), read)
    finally:
        api.shutdown()
        api.clear_providers()
        for server in servers.values():
            server.close()


@contextmanager
def by_pgbouncer(pair: Pair, _: Path) -> Iterator[Site]:
    with bouncer(pair) as running:
        config = running.config("catalog_ro", "search_ro")
        with running.connect("catalog_ro") as catalog, running.connect("search_ro") as search:
            clients = count()
            yield Site(
                config,
                msgspec.structs.replace(config, console="127.0.0.1:1"),
                lambda: (catalog, search)[next(clients) % 2].execute(READ),
            )


@contextmanager
def by_haproxy(pair: Pair, folder: Path) -> Iterator[Site]:
    with haproxy(pair) as running:

        def read() -> None:
            with running.connect() as client:
                client.execute(READ)

        yield Site(running.config(), running.config(socket=str(folder / "missing.sock")), read)


@contextmanager
def users_by_flag(folder: Path, _: pytest.FixtureRequest) -> Iterator[Site]:
    path = folder / "flags.json"
    path.write_text(json.dumps({"flags": {"site": FLAG}}))
    config = FlagdTraffic(path=str(path), flag="site")
    yield Site(config, msgspec.structs.replace(config, path=str(folder / "missing.json")))


@contextmanager
def users_by_haproxy(folder: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with haproxy(request.getfixturevalue("postgres_pair")) as running:
        yield Site(running.traffic(), running.traffic(socket=str(folder / "missing.sock")))


@contextmanager
def users_by_route53(_: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    localstack = request.getfixturevalue("localstack")
    request.getfixturevalue("aws_credentials")
    config = Zone(localstack, {"here": 100, "there": 0}).traffic(localstack)
    yield Site(config, msgspec.structs.replace(config, endpoint="http://127.0.0.1:1"))


TRAFFIC = {"flagd-traffic": users_by_flag, "haproxy-traffic": users_by_haproxy, "route53-traffic": users_by_route53}
SITES = {"flagd-reads": by_flag, "pgbouncer-reads": by_pgbouncer, "haproxy-reads": by_haproxy}


def session(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(f"{dsn} application_name={APPLICATION}", autocommit=True)


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, postgres_pair: Pair, tmp_path: Path) -> Iterator[Site]:
    with SITES[request.param](postgres_pair, tmp_path) as made:
        yield made


@pytest.fixture(params=[*SITES, *TRAFFIC])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Also of those that route users."""
    if request.param in TRAFFIC:
        made = TRAFFIC[request.param](tmp_path, request)
    else:
        made = SITES[request.param](request.getfixturevalue("postgres_pair"), tmp_path)
    with made as site:
        yield site


@contextmanager
def reading(site: Site) -> Iterator[list[Exception]]:
    """The application reads again and again; yields the errors it gets."""
    over = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        while not over.is_set():
            try:
                site.read()
            except psycopg.Error as error:
                errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        over.set()
        thread.join(30)


@contextmanager
def database(dsn: str) -> Iterator[Database]:
    with opened(Postgresql(dsn="env:DSN"), timeout=120, secrets=Secrets({"env:DSN": dsn})) as server:
        yield server


def test_every_technology_that_routes_is_held_to_this() -> None:
    assert SITES.keys() == {name for name, kind in TARGET_TYPES.items() if "ReadRouter" in kind.speaks}
    assert TRAFFIC.keys() == {name for name, kind in TARGET_TYPES.items() if "TrafficRouter" in kind.speaks}


def test_reads_are_seen_where_they_are_sent_and_nowhere_else_and_none_fails(site: Site, postgres_pair: Pair) -> None:
    with (
        opened(site.config, timeout=120) as router,
        database(postgres_pair.primary.dsn) as primary,
        database(postgres_pair.standby.dsn) as standby,
        reading(site) as errors,
    ):
        half = next(share for share in router.shares() if share >= 50)
        for percent in (0, half, 100, 0):
            router.shift(Share(standby=percent))

            def both(percent: int = percent) -> bool:
                seen = [server.reads_seen(APPLICATION, WINDOW) > 0 for server in (primary, standby)]
                return seen == [percent < 100, percent > 0]

            wait.until(both, 60, f"reads are seen only where {percent}% sends them")
    assert not errors


def test_its_shares_rise_from_none_to_all_and_each_can_be_set_and_read_back(any_site: Site) -> None:
    with opened(any_site.config) as router:
        _: TrafficRouter = router
        shares = router.shares()
        assert list(shares) == sorted(set(shares))
        assert (shares[0], shares[-1]) == (0, 100)
        for percent in {*shares[:3], *shares[-3:]}:
            router.shift(Share(standby=percent))
            assert router.share() == Share(standby=percent)


def test_what_is_in_force_outlives_whoever_set_it_and_setting_it_again_is_harmless(any_site: Site) -> None:
    for _ in range(2):
        with opened(any_site.config) as router:
            router.shift(Share(standby=100))
        with opened(any_site.config) as another:
            another.ping()
            assert another.share() == Share(standby=100)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_that_cannot_be_is_refused_and_changes_nothing(any_site: Site, percent: int) -> None:
    with opened(any_site.config) as router:
        before = router.share()
        with pytest.raises(LookupError, match=f"{percent} "):
            router.shift(Share(standby=percent))
        assert router.share() == before


def test_a_router_that_cannot_be_asked_is_unreachable(any_site: Site) -> None:
    with pytest.raises(TargetUnreachable), opened(any_site.lost) as router:
        router.ping()
