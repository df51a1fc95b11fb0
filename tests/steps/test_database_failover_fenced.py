"""A primary that goes on working while its host cannot be commanded, and is cut off from its clients instead."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace
from dr.steps.database_failover import DatabaseFailover, Despite, NotReady
from dr.steps.database_reprotect import DatabaseReprotect
from dr.targets.fence_proxies import FenceProxies
from dr.targets.fence_roles import FenceRoles
from dr.targets.protocols import TargetConfig, TargetUnreachable
from dr.targets.ssh import SshGroup
from tests.cluster import Cluster, Writer, cluster
from tests.here import World

NOWHERE = "127.0.0.1:9"
"""Nothing listens there."""
CUT_SHORT = ("db1 cannot be made to stop", "is cut off", "db2 has received most")


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        with started.first.server.connect() as primary:
            primary.execute(f"create role shop login password '{started.first.server.password}'")
            primary.execute("grant all on writes to shop")
        started.ini.write_text(started.ini.read_text().replace("user=postgres", "user=shop"))
        started.pool.kill()
        started.pool.wait()
        started.start_pool()
        yield started


@dataclass(frozen=True)
class AroundTheProxy:
    """Clients that connect to the first server themselves."""

    servers: Cluster

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(f"{self.servers.first.server.dsn} user=shop", autocommit=True, **parameters)

    def dsns(self) -> dict[str, str]:
        return {}


def world(servers: Cluster, folder: Path, *, sql: bool) -> World:
    """The host of db1 takes no command; with `sql`, the server on it answers."""
    targets: dict[str, TargetConfig] = servers.targets()
    (folder / "known_hosts").touch()
    primary = msgspec.structs.replace(servers.first.config, ssh="gone")
    if not sql:
        primary = msgspec.structs.replace(primary, dsn=f"host=127.0.0.1 port={NOWHERE.rpartition(':')[2]}")
    more: dict[str, TargetConfig] = {
        "db1": primary,
        "gone": SshGroup(hosts=(NOWHERE,), user="dr", known_hosts=str(folder / "known_hosts")),
        "logins": FenceRoles(server="db1"),
        "net": FenceProxies(server="db1", proxies=("pool",)),
        "logins2": FenceRoles(server="db2"),
    }
    return World({**targets, **more}, servers.secrets)


def failover(*despite: Despite, fence: str | None = None) -> DatabaseFailover:
    return DatabaseFailover(
        primary="db1", standbys=("db2",), pool="pool", despite=despite, fence=fence,
        quiet_for=parse_duration("0s"), patience=parse_duration("3s"),
    )  # fmt: skip


def make(world: World, step: DatabaseFailover, fault: Callable[[str], None] = lambda _: None) -> None:
    with world.act() as here:
        here.say = fault  # type: ignore[method-assign,assignment]
        evidence = step.apply(here)
        assert (evidence["promoted"], evidence["fenced"]) == ("db2", f"by {step.fence}")
        assert isinstance(step.observe(here), InPlace)


def follow_again(servers: Cluster) -> None:
    """Its host takes commands again: the same step fences it for good, and it is made a standby."""
    with World({**servers.targets(), "logins": FenceRoles(server="db1")}, servers.secrets).act() as here:
        step = failover("answering", fence="logins")
        assert not isinstance(step.observe(here), InPlace)
        step.apply(here)
        assert isinstance(step.observe(here), InPlace)
        DatabaseReprotect(primary="db2", standby="db1", diverged="rewind").apply(here)
    assert not servers.first.writable()


def test_a_primary_that_answers_is_not_dead_though_its_host_is(servers: Cluster, tmp_path: Path) -> None:
    told = pytest.raises(NotReady, match="db1 answers, so it is not dead, though its host cannot be commanded; if it")
    with world(servers, tmp_path, sql=True).act() as here, told:
        failover("unfenced", fence="logins").apply(here)
    told = pytest.raises(NotReady, match="db1 cannot be fenced, so it may still take writes")
    with world(servers, tmp_path, sql=True).act() as here, told:
        failover("answering").apply(here)
    assert not servers.second.writable()


def test_the_fence_of_another_server_is_no_proof(servers: Cluster, tmp_path: Path) -> None:
    told = pytest.raises(NotReady, match="logins2 cuts off db2, which is another")
    with world(servers, tmp_path, sql=True).act() as here, told:
        failover("answering", "unfenced", fence="logins2").apply(here)
    assert servers.second.ask("select rolcanlogin from pg_roles where rolname = 'shop'")


@pytest.mark.parametrize("cut_short", [None, *CUT_SHORT])
def test_roles_are_kept_out_of_the_old_primary_and_no_row_is_lost(
    servers: Cluster, tmp_path: Path, cut_short: str | None
) -> None:
    """Safety rule 10: not even what a client writes around the proxy is on the old primary alone."""
    here, step = world(servers, tmp_path, sql=True), failover("answering", fence="logins")

    def fault(words: str) -> None:
        if cut_short and cut_short in words:
            raise TargetUnreachable(words)

    with Writer(servers) as client, Writer(AroundTheProxy(servers), first=1_000_000) as other:
        if cut_short:
            with pytest.raises((TargetUnreachable, NotReady)):
                make(here, step, fault)
        make(here, step)
        client.goes_on()
    assert other.errors, "it was kept out"
    assert client.acknowledged | other.acknowledged <= servers.ids(servers.second)
    follow_again(servers)
    assert client.acknowledged | other.acknowledged <= servers.ids(servers.second)


def test_proxies_lead_nobody_to_a_primary_that_cannot_be_asked(servers: Cluster, tmp_path: Path) -> None:
    """Safety rule 10: dr is cut off from it, its clients are not. With roles there is no proof then."""
    here = world(servers, tmp_path, sql=False)
    with here.act() as failing, pytest.raises(NotReady, match=r"db1 cannot be fenced, .*logins: "):
        failover(fence="logins").apply(failing)
    assert not servers.second.writable()
    with Writer(servers) as client:
        make(here, failover(fence="net"))
        client.goes_on()
        on_the_old = servers.ids(servers.first)
        client.goes_on()
    assert servers.first.writable(), "it goes on, without clients"
    assert servers.ids(servers.first) == on_the_old
    assert len(client.acknowledged - servers.ids(servers.second)) <= 1, "what the standby had not received is lost"
