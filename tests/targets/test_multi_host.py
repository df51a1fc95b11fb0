from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.targets.multi_host import MultiHost
from dr.targets.pools import PoolState
from tests.cluster import Cluster, cluster
from tests.here import Secrets, opened
from tests.writers import multi_host

SERVERS = [{"server": "db1", "at": "10.0.0.1:5432"}, {"server": "db2", "at": "10.0.0.2:5432"}]


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def pool(servers: Cluster) -> Iterator[Any]:
    with multi_host(servers) as way, opened(way.pool, name="pool", secrets=Secrets(servers.secrets)) as target:
        yield target


def test_clients_are_where_writes_are_taken_and_nowhere_when_none_are(servers: Cluster, pool: Any) -> None:
    assert pool.state() == PoolState(server="db1", paused=False)
    with servers.first.server.connect() as primary:
        primary.execute("alter system set default_transaction_read_only = on")
        primary.execute("select pg_reload_conf()")
    assert pool.state() == PoolState(server="", paused=False)
    servers.first.freeze()
    servers.second.ask("select pg_promote()")
    try:
        pool.keep_within(30)
        assert pool.state() == PoolState(server="db2", paused=False), "one that is silent hides no other"
    finally:
        servers.first.thaw()


def test_a_server_that_clients_do_not_know_is_refused(pool: Any) -> None:
    with pytest.raises(LookupError, match="pool knows no server db9"):
        pool.repoint("db9")


def test_a_password_in_the_connection_string_is_refused() -> None:
    given = {"type": "multi-host", "servers": SERVERS, "applications": ["shop"], "dsn": "user=dr password=hidden"}
    with pytest.raises(msgspec.ValidationError, match="it holds a password"):
        msgspec.convert(given, MultiHost)
