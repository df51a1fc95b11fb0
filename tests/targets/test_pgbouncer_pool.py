import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from dr.demo import wait
from dr.targets.pgbouncer_pool import PgbouncerPool
from dr.targets.pools import PoolState
from dr.targets.protocols import TargetUnreachable
from tests.cluster import LIMIT, Cluster, cluster
from tests.here import Secrets, opened


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def pool(servers: Cluster) -> Iterator[Any]:
    with opened(servers.targets()["pool"], secrets=Secrets({}), name="pool") as target:
        yield target
    with opened(servers.targets()["pool"], secrets=Secrets({}), name="pool") as target:
        target.repoint("db1")
        target.resume()


def test_clients_wait_while_it_is_paused_and_go_on_where_it_points_then(servers: Cluster, pool: Any) -> None:
    ports: list[object] = []

    def ask() -> None:
        with servers.connect() as client:
            ports.append(client.execute("select inet_server_port()").fetchone())

    pool.pause(20)
    assert pool.state() == PoolState(server="db1", paused=True)
    thread = threading.Thread(target=ask)
    thread.start()
    wait.until(lambda: any(row["cl_waiting"] for row in pool._records("SHOW POOLS")), LIMIT, "the client waits")
    pool.repoint("db2")
    assert pool.state() == PoolState(server="db2", paused=True)
    assert not ports
    pool.resume()
    thread.join()
    assert ports == [(servers.second.server.port,)]
    assert pool.state() == PoolState(server="db2", paused=False)
    pool.resume()


def test_nobody_is_held_for_longer_than_allowed_when_dr_is_gone(servers: Cluster, pool: Any) -> None:
    pool.pause(1)
    pool.close()
    with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"), servers.connect() as client:
        client.execute("select 1")


def test_the_limit_on_the_wait_holds_beyond_a_repoint_and_ends_with_the_resume(pool: Any) -> None:
    before = pool._setting("query_wait_timeout")
    pool.pause(3)
    pool.repoint("db2")
    assert float(pool._setting("query_wait_timeout")) == 3
    pool.resume()
    assert pool._setting("query_wait_timeout") == before


def test_a_pause_that_is_not_over_in_time_can_be_taken_back(servers: Cluster, pool: Any) -> None:
    with servers.connect() as client:
        client.autocommit = False
        client.execute("select 1")
        pool.keep_within(1)
        with pytest.raises(TargetUnreachable):
            pool.pause(20)
        pool.keep_within(20)
        assert pool.state().paused
        pool.resume()
        client.execute("select 1")


def test_sessions_that_are_cut_off_come_back_where_it_points_then(servers: Cluster, pool: Any) -> None:
    with servers.connect() as client:
        client.execute("select 1")
        pool.drop()
        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")
    pool.repoint("db2")
    pool.resume()
    with servers.connect() as client:
        assert client.execute("select inet_server_port()").fetchone() == (servers.second.server.port,)


def test_a_pool_of_sessions_is_in_the_way(servers: Cluster, pool: Any) -> None:
    assert pool.obstacles() == ()
    servers.ini.write_text(servers.ini.read_text().replace("= transaction", "= session"))
    pool._command("RELOAD")
    assert pool.obstacles() == ("shop pools sessions: a pause would wait for each client to leave",)
    servers.ini.write_text(servers.ini.read_text().replace("= session", "= transaction"))


def test_an_entry_or_a_server_it_does_not_know_is_named(servers: Cluster, pool: Any) -> None:
    with pytest.raises(LookupError, match="pool knows no server db9"):
        pool.repoint("db9")
    config = servers.targets()["pool"]
    assert isinstance(config, PgbouncerPool)
    missing = msgspec.structs.replace(config, entries=("shop", "missing"))
    with pytest.raises(TargetUnreachable, match="PgBouncer has no entry missing"), opened(missing, secrets=Secrets({})):
        pass


def test_two_servers_at_one_address_are_refused() -> None:
    raw = {
        "type": "pgbouncer-pool", "path": "/x", "console": "h:1", "entries": ["shop"],
        "servers": [{"server": "db1", "at": "h:2"}, {"server": "db2", "at": "h:2"}],
    }  # fmt: skip
    with pytest.raises(msgspec.ValidationError, match="two of them are the same"):
        msgspec.convert(raw, PgbouncerPool)
