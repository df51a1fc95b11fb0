"""A change of the primary where nothing holds the clients: they find it by themselves, or HAProxy takes them there."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace
from dr.steps.database_failover import DatabaseFailover
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_switchover import DatabaseSwitchover, NotReady, SwitchedBack
from tests.cluster import Cluster, Watch, Writer, cluster
from tests.writers import WAYS, Way

STEP = DatabaseSwitchover(primary="db1", standby="db2", pool="pool", hold=parse_duration("2s"))
BACK = DatabaseSwitchover(primary="db2", standby="db1", pool="pool")


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, servers: Cluster) -> Iterator[Way]:
    with request.param(servers) as found:
        yield found


def make(way: Way, step: Any) -> dict[str, object]:
    with way.world().act() as here:
        told = dict(step.apply(here))
        assert isinstance(step.observe(here), InPlace)
    return told


def test_no_row_is_lost_there_and_back_and_never_do_two_take_writes(servers: Cluster, way: Way) -> None:
    """Safety rule 10."""
    with Writer(way) as client, Watch(way) as watch:
        with way.world().look() as here:
            before = STEP.observe(here)
        assert before == NotInPlace({"db1": "writable", "db2": "standby", "pool": "taken to db1"})
        make(way, STEP)
        client.goes_on()
        assert way.port() == servers.second.server.port
        make(way, DatabaseReprotect(standby="db1", primary="db2"))
        make(way, BACK)
        client.goes_on()
    assert not watch.two_writable
    assert way.port() == servers.first.server.port
    assert client.acknowledged <= servers.ids(servers.first)


def test_what_fails_before_the_promotion_takes_the_clients_back(servers: Cluster, way: Way) -> None:
    """Safety rule 9."""
    with Writer(way) as client:
        with way.world().act() as here:

            def fault(text: str) -> None:
                if text.startswith("stop:"):
                    servers.second.freeze()

            here.say = fault  # type: ignore[method-assign]
            with pytest.raises(SwitchedBack, match="db1 serves as before"):
                STEP.apply(here)
        servers.second.thaw()
        client.goes_on()
    assert way.port() == servers.first.server.port
    assert client.acknowledged <= servers.ids(servers.first)


def test_who_is_connected_around_the_pool_is_named_beforehand(servers: Cluster, way: Way) -> None:
    around = psycopg.connect(servers.first.server.dsn, application_name="reports")
    refused = pytest.raises(NotReady, match="connected to db1 around the pool: reports")
    with around, way.world().act() as here, way.connect(), refused:
        STEP.apply(here)
    assert way.port() == servers.first.server.port


def test_a_dead_primary_is_replaced_and_its_clients_get_to_the_new_one(servers: Cluster, way: Way) -> None:
    with Writer(way) as client, Watch(way) as watch:
        servers.first.kill()
        told = make(way, DatabaseFailover(primary="db1", standbys=("db2",), pool="pool"))
        client.goes_on()
    assert told["promoted"] == "db2"
    assert not watch.two_writable
    assert way.port() == servers.second.server.port
