from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from dr.targets.haproxy_pool import HaproxyPool
from dr.targets.pools import PoolState
from dr.targets.protocols import TargetUnreachable
from tests.cluster import cluster
from tests.here import opened
from tests.writers import Way, haproxy_writes


@pytest.fixture(scope="module")
def way() -> Iterator[Way]:
    with cluster() as servers, haproxy_writes(servers) as found:
        yield found


@pytest.fixture
def pool(way: Way) -> Iterator[Any]:
    with opened(way.pool, name="pool") as target:
        yield target
        target.repoint("db1")
        target.resume()


def test_while_it_is_paused_nobody_gets_through_and_nobody_hangs(way: Way, pool: Any) -> None:
    with way.connect() as before:
        pool.pause(1)
        assert pool.state() == PoolState(server="db1", paused=True)
        with pytest.raises(psycopg.OperationalError):
            before.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        way.connect()
    pool.repoint("db2")
    assert pool.state() == PoolState(server="db2", paused=True)
    with pytest.raises(psycopg.OperationalError):
        way.connect()
    pool.resume()
    assert way.port() == way.servers.second.server.port


def test_a_session_with_a_server_that_clients_are_taken_away_from_is_ended(way: Way, pool: Any) -> None:
    """HAProxy would let it go on there (TCP), where soon nobody may write."""
    with way.connect() as before:
        pool.repoint("db2")
        assert pool.state() == PoolState(server="db2", paused=False)
        with pytest.raises(psycopg.OperationalError):
            before.execute("select 1")


def test_a_backend_with_a_server_that_dr_does_not_know_of_is_not_touched(way: Way) -> None:
    assert isinstance(way.pool, HaproxyPool)
    first, second = way.pool.servers
    other = msgspec.structs.replace(way.pool, servers=(first, msgspec.structs.replace(second, name="third")))
    with opened(other, name="pool") as target, pytest.raises(LookupError, match="differ in second, third"):
        target.pause(1)
    assert way.port() == way.servers.first.server.port


def test_a_server_that_is_not_declared_is_refused(pool: Any) -> None:
    with pytest.raises(LookupError, match="pool knows no server db9"):
        pool.repoint("db9")


def test_an_haproxy_that_is_not_there_is_unreachable(way: Way) -> None:
    gone = msgspec.structs.replace(way.pool, socket="/nonexistent/api.sock")
    with opened(gone, name="pool") as target, pytest.raises(TargetUnreachable):
        target.state()
