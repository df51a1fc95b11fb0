"""A real PgBouncer that leads nobody to a server any more; what it cannot keep from there is no fence."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import psycopg
import pytest

from dr.targets.fence_proxies import FenceProxies
from dr.targets.pools import PoolState
from dr.targets.protocols import Refused, TargetConfig, TargetUnreachable
from tests.cluster import Cluster, cluster
from tests.here import Secrets, opened


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture(autouse=True)
def as_it_was(servers: Cluster) -> Iterator[None]:
    before = servers.ini.read_text()
    yield
    servers.ini.write_text(before)
    with opened(servers.targets()["pool"], secrets=Secrets({}), name="pool") as pool:
        pool.resume()


def fence(servers: Cluster, *proxies: str, **more: TargetConfig) -> AbstractContextManager[Any]:
    targets = {**servers.targets(), **more}
    return opened(FenceProxies(server="db1", proxies=proxies or ("pool",)), name="net", targets=targets)


def port(client: psycopg.Connection[Any]) -> int:
    row = client.execute("select inet_server_port()").fetchone()
    assert row is not None
    return int(row[0])


def test_clients_that_were_there_are_cut_off_and_nobody_gets_there_again(servers: Cluster) -> None:
    """Also after a restart of PgBouncer, which forgets what its console was told."""
    with servers.connect() as client, fence(servers) as net:
        assert port(client) == servers.first.server.port
        assert not net.fenced()
        net.fence()
        net.fence()
        assert net.fenced()
        with pytest.raises(psycopg.OperationalError):
            client.execute("insert into writes values (1, 'late')")
    servers.pool.kill()
    servers.pool.wait()
    servers.start_pool()
    with servers.connect() as client, fence(servers) as net:
        assert port(client) == servers.second.server.port
        assert net.fenced()


def test_a_transaction_that_is_open_does_not_outlive_the_fence(servers: Cluster) -> None:
    with servers.connect() as client, fence(servers) as net:
        client.execute("begin; insert into writes values (7, 'open')")
        net.fence()
        with pytest.raises(psycopg.OperationalError):
            client.execute("commit")
    assert servers.first.ask("select count(*) from writes where id = 7") == 0


def test_clients_that_were_held_are_held_still(servers: Cluster) -> None:
    with opened(servers.targets()["pool"], secrets=Secrets({}), name="pool") as pool, fence(servers) as net:
        pool.drop()
        net.fence()
        assert pool.state() == PoolState(server="db2", paused=True)


@pytest.mark.parametrize(
    "line",
    [
        "* = host=127.0.0.1 port={port}",
        "reports = host=127.0.0.1 port={port}",
        "\"re ports\" = port='{port}' host=other,127.0.0.1",
        "%include /etc/pgbouncer/more.ini",
    ],
)
def test_a_way_that_dr_does_not_know_of_is_no_fence_and_nothing_is_changed(servers: Cluster, line: str) -> None:
    line = line.replace("{port}", str(servers.first.server.port))
    servers.ini.write_text(servers.ini.read_text().replace("[pgbouncer]", f"{line}\n[pgbouncer]"))
    before = servers.ini.read_text()
    told = pytest.raises(Refused, match=r"pool: (\*|reports|re ports|the ini) (of PgBouncer|includes)")
    with fence(servers) as net, told:
        net.fence()
    assert servers.ini.read_text() == before


def test_an_entry_in_force_counts_although_the_ini_no_longer_has_it(servers: Cluster) -> None:
    before = servers.ini.read_text()
    servers.ini.write_text(
        before.replace("[pgbouncer]", f"old = host=127.0.0.1 port={servers.first.server.port}\n[pgbouncer]")
    )
    with opened(servers.targets()["pool"], secrets=Secrets({}), name="pool") as pool:
        pool.resume()  # which reads the ini
    servers.ini.write_text(before)
    with fence(servers) as net, pytest.raises(Refused, match=r"pool: old of PgBouncer's"):
        net.fenced()


def test_all_the_proxies_have_to_answer_before_one_is_touched(servers: Cluster) -> None:
    pool = servers.targets()["pool"]
    gone = msgspec.structs.replace(pool, console="127.0.0.1:9")
    before = servers.ini.read_text()
    with pytest.raises(TargetUnreachable), fence(servers, "pool", "gone", gone=gone):
        pass
    assert servers.ini.read_text() == before


def test_what_one_of_the_proxies_would_refuse_is_found_before_another_is_touched(servers: Cluster) -> None:
    """Else the clients of the first would be led to a standby, and those of the second still to the old primary."""
    servers.ini.write_text(servers.ini.read_text().replace("admin_users =", "stats_users = looks\nadmin_users ="))
    pool = servers.targets()["pool"]
    with opened(pool, secrets=Secrets({}), name="pool") as console:
        console.resume()  # which reads the ini
    before = servers.ini.read_text()
    watched = msgspec.structs.replace(pool, user="looks")
    told = pytest.raises(Refused, match=r"db1 could be written to by the entry shop of pool, .*admin")
    with servers.connect() as client, fence(servers, "pool", "watched", watched=watched) as net:
        with told:
            net.fence()
        assert port(client) == servers.first.server.port
    assert servers.ini.read_text() == before
