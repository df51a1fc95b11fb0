"""A primary that goes on working while its host cannot be commanded, and is cut off from its clients instead."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace
from dr.steps.database_failover import DatabaseFailover, Despite, NotReady
from dr.steps.database_reprotect import DatabaseReprotect
from dr.targets.ansible import AnsibleHosts
from dr.targets.fence_playbook import FencePlaybook
from dr.targets.fence_proxies import FenceProxies
from dr.targets.fence_roles import FenceRoles
from dr.targets.protocols import TargetConfig
from dr.targets.ssh import SshGroup
from dr.targets.transport import ansible_play
from dr.targets.transport.pooled_server import PooledServer
from tests.cluster import Cluster, Writer, cluster
from tests.here import World
from tests.switching import applied

NOWHERE = "127.0.0.1:9"
"""Nothing listens there."""


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


def cut_off_from_dr(servers: Cluster, folder: Path, *, sql: bool) -> dict[str, TargetConfig]:
    """The targets; the host of db1 takes no command; with `sql`, the server on it answers."""
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
    return {**servers.targets(), **more}


def world(servers: Cluster, folder: Path, *, sql: bool) -> World:
    return World(cut_off_from_dr(servers, folder, sql=sql), servers.secrets)


def failover(*despite: Despite, fence: str | None = None) -> DatabaseFailover:
    return DatabaseFailover(
        primary="db1", standbys=("db2",), pool="pool", despite=despite, fence=fence,
        quiet_for=parse_duration("0s"), patience=parse_duration("10s"),
    )  # fmt: skip


def make(world: World, step: DatabaseFailover) -> None:
    with world.act() as here:
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


def test_roles_are_kept_out_of_the_old_primary_and_no_row_is_lost(servers: Cluster, tmp_path: Path) -> None:
    """Safety rule 10: not even what a client writes around the proxy is on the old primary alone."""
    here, step = world(servers, tmp_path, sql=True), failover("answering", fence="logins")

    with Writer(servers) as client, Writer(AroundTheProxy(servers), first=1_000_000) as other:
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


@pytest.mark.parametrize("fence", ["strangers", "power"])
def test_a_fence_that_is_not_set_up_right_does_not_keep_an_operator_from_ruling(
    servers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fence: str
) -> None:
    """The proxies do not know the server, or Ansible is not installed here; and somebody has pulled the plug."""
    monkeypatch.setattr(ansible_play, "search_path", lambda: "/nowhere")
    targets = cut_off_from_dr(servers, tmp_path, sql=False)
    others = tuple(PooledServer(server=name, at=f"127.0.0.1:{number}") for number, name in enumerate(("a", "b"), 1))
    targets |= {
        "others": msgspec.structs.replace(targets["pool"], servers=others),
        "strangers": FenceProxies(server="db1", proxies=("others",)),
        "hosts": AnsibleHosts(inventory="/nowhere", playbooks="/nowhere"),
        "power": FencePlaybook(hosts="hosts", playbook="off.yml", limit="db1"),
    }
    here = World(targets, servers.secrets)
    servers.first.kill()

    told = pytest.raises(NotReady, match=r"db1 cannot be fenced, .*say `despite: \[unfenced\]`")
    with here.act() as failing, told:
        failover(fence=fence).apply(failing)
    assert not servers.second.writable()
    with here.look() as looking:
        assert isinstance(failover(fence=fence).observe(looking), NotInPlace)
    with here.act() as ruled:
        step = failover("unfenced", fence=fence)
        assert step.apply(ruled)["fenced"] == "not at all"
        assert isinstance(step.observe(ruled), InPlace)


@pytest.mark.parametrize(
    "fence, before",
    [
        *(("logins", words) for words in ("KILL", "nologin; commit", "pg_terminate_backend", "pg_promote(false)")),
        *(("logins", words) for words in ("reset dr.login; commit", "RELOAD", "RESUME")),
        *(("net", words) for words in ("RELOAD", "pg_promote(false)", "RESUME")),
    ],
)
def test_killed_before_what_it_changes_it_is_gone_on_with_and_no_client_is_left_behind(
    servers: Cluster, tmp_path: Path, fence: str, before: str
) -> None:
    """Safety rule 10: by then the primary is cut off in part, or from all, and it runs."""
    targets, step = cut_off_from_dr(servers, tmp_path, sql=fence == "logins"), failover("answering", fence=fence)
    way = AroundTheProxy(servers) if fence == "logins" else servers  # there must be none around proxies that fence
    with Writer(servers) as client, Writer(way, first=1_000_000) as other:
        killed = applied(step, targets, servers.secrets, servers.workspace.directory, before)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        with World(targets, servers.secrets).act() as here:
            step.apply(here)
            assert isinstance(step.observe(here), InPlace)
        client.goes_on()
    lost = (client.acknowledged | other.acknowledged) - servers.ids(servers.second)
    assert len(lost) <= (0 if fence == "logins" else 2), (
        "what the standby had not received is lost: a row of each client"
    )
