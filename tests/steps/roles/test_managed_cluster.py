"""A switchover and a failover that Patroni is asked for, on a real cluster.

The cluster is shared: each test ends with a primary and a standby that streams, whoever that is. A change of roles
takes some seconds, because Patroni looks around once a second at most.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec
import psycopg
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace, NotInPlace, Observation
from dr.demo import process_tree
from dr.demo.postgres import free_port
from dr.steps.database_failover import DatabaseFailover
from dr.steps.database_switchover import DatabaseSwitchover
from dr.targets.patroni import PatroniMember
from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.transport.http_exchange import Client
from tests.cluster import Watch, Writer
from tests.patroni_cluster import PatroniCluster, PatroniNode, world


def switchover(primary: PatroniNode, standby: PatroniNode) -> DatabaseSwitchover:
    return DatabaseSwitchover(cluster="cluster", primary=primary.name, standby=standby.name)


def member(node: PatroniNode, **changes: str) -> PatroniMember:
    """As it is declared, but for something."""
    return msgspec.structs.replace(node.member, **changes)


def look(patroni: PatroniCluster, step: DatabaseSwitchover) -> Observation:
    with world(patroni).look() as here:
        return step.observe(here)


def test_the_standby_becomes_the_primary_no_row_is_lost_and_it_goes_back_in_the_same_way(
    patroni: PatroniCluster,
) -> None:
    primary, standby = patroni.roles()
    step = switchover(primary, standby)
    with Watch(patroni) as watch, Writer(patroni) as client:
        before = look(patroni, step)
        assert isinstance(before, NotInPlace)
        assert before.evidence == {
            primary.name: "writable",
            standby.name: "standby",
            "cluster": f"led by {primary.name}",
        }
        with world(patroni).act(60) as here:
            step.apply(here)
            seen = step.observe(here)
        assert isinstance(seen, InPlace)
        assert seen.evidence["cluster"] == f"led by {standby.name}"
        client.goes_on()
        assert patroni.roles() == (standby, primary)
        with world(patroni).act(60) as here:
            step.undo(here, before.evidence)
            assert isinstance(step.observe_undone(here, before.evidence), InPlace)
        client.goes_on()
    assert not watch.two_writable
    assert patroni.roles() == (primary, standby)
    assert client.acknowledged <= patroni.ids(primary)


def test_a_request_that_was_answered_by_nobody_is_settled_by_looking(
    patroni: PatroniCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safety rule 3: the answer is lost, the effect is not."""
    primary, standby = patroni.roles()
    send, asked = Client.send, []

    def lost(self: Client, request: object, timeout: float) -> object:
        reply = send(self, request, timeout)  # type: ignore[arg-type]
        if getattr(request, "method", "") == "POST":
            asked.append(request)
            raise TargetUnreachable("the connection was lost")
        return reply

    monkeypatch.setattr(Client, "send", lost)
    step = switchover(primary, standby)
    with world(patroni).act(60) as here:
        step.apply(here)
        assert here.said == ["the connection was lost; watching what comes of it"]
        assert isinstance(step.observe(here), InPlace)
        step.apply(here)
    assert len(asked) == 1, "an attempt that finds it done does not ask again"
    assert patroni.roles() == (standby, primary)


def test_it_is_refused_before_anything_is_asked_where_it_could_not_be_made(patroni: PatroniCluster) -> None:
    """Safety rule 9."""
    primary, standby = patroni.roles()
    with world(patroni).look() as here:
        assert switchover(primary, standby).preview(here)["in_the_way"] == []
        wrong = switchover(standby, primary).preview(here)["in_the_way"]
    assert isinstance(wrong, list)
    assert f"cluster is led by {primary.name}, not by {standby.name}" in wrong
    with world(patroni).act() as here, pytest.raises(LookupError, match="cluster has no member pg9"):
        DatabaseSwitchover(cluster="cluster", primary=primary.name, standby="pg9").apply(here)
    unmanaged = [member(standby, api=f"https://127.0.0.1:{free_port()}"), primary.member]
    with world(patroni, members=tuple(unmanaged)).act() as here, pytest.raises(Refused) as refused:
        switchover(primary, standby).apply(here)
    assert str(refused.value) == f"the manager beside {standby.name} does not answer"
    assert patroni.roles() == (primary, standby)


def test_without_the_password_of_the_api_patroni_refuses_and_no_secret_is_told(patroni: PatroniCluster) -> None:
    """Safety rule 13."""
    primary, standby = patroni.roles()
    wrong = world(patroni, {"env:PATRONI_API": "not-the-password"})
    with wrong.act() as here, pytest.raises(Refused, match="does not let dr do that") as refused:
        switchover(primary, standby).apply(here)
    assert "not-the-password" not in str(refused.value)
    assert patroni.roles() == (primary, standby)


def test_an_api_whose_certificate_nobody_vouches_for_is_not_believed(patroni: PatroniCluster) -> None:
    primary, standby = patroni.roles()
    with world(patroni, ca=None).look() as here, pytest.raises(TargetUnreachable, match="certificate"):
        switchover(primary, standby).observe(here)


def test_a_leader_that_does_not_take_writes_yet_is_no_primary(patroni: PatroniCluster) -> None:
    """Patroni names a new leader as soon as that has the lock; then its server is still a standby."""
    primary, standby = patroni.roles()
    step = switchover(standby, primary)
    assert isinstance(look(patroni, step), InPlace)
    still_standby = (member(primary, at=standby.member.at), standby.member)
    with world(patroni, members=still_standby).look() as here:
        seen = step.observe(here)
    assert isinstance(seen, NotInPlace)
    assert seen.evidence["cluster"] == f"led by {primary.name}"


def test_a_cluster_of_which_nobody_tells_is_in_doubt(patroni: PatroniCluster) -> None:
    primary, standby = patroni.roles()
    silent = tuple(member(node, api=f"https://127.0.0.1:{free_port()}") for node in (primary, standby))
    unheard = pytest.raises(TargetUnreachable, match="no member's Patroni tells of the cluster")
    with world(patroni, members=silent).look() as here, unheard:
        switchover(primary, standby).observe(here)


def failover(primary: PatroniNode, standby: PatroniNode, quiet_for: str = "10s") -> DatabaseFailover:
    query = "select extract(epoch from clock_timestamp() - max(at))::float8 from heartbeat"
    return DatabaseFailover(
        cluster="cluster", primary=primary.name, standbys=(standby.name,), quiet_for=parse_duration(quiet_for),
        heartbeat=query,
    )  # fmt: skip


def test_a_primary_of_which_nothing_is_heard_counts_as_fenced_only_by_name(patroni: PatroniCluster) -> None:
    """Safety rule 10. It may be frozen: then it goes on some day, and takes writes."""
    primary, standby = patroni.roles()
    with socket.create_server(("127.0.0.1", 0)) as silence:
        silent = member(standby, at=f"127.0.0.1:{silence.getsockname()[1]}")
        with world(patroni, members=(primary.member, silent)).look() as here:
            step = failover(standby, primary)
            assert isinstance(step.observe(here), NotInPlace)
            overridden = msgspec.structs.replace(step, despite=("unfenced",))
            assert isinstance(overridden.observe(here), InPlace)


def why_not(patroni: PatroniCluster, step: DatabaseFailover) -> str:
    with world(patroni).act() as here, pytest.raises(Refused) as refused:
        step.apply(here)
    return str(refused.value)


def test_only_a_leader_that_is_dead_and_fenced_is_replaced(patroni: PatroniCluster) -> None:
    """Safety rule 10. It takes 20 s after the leader's last word: the shortest `ttl` that Patroni takes."""
    primary, standby = patroni.roles()
    with psycopg.connect(primary.dsn) as connection:
        connection.execute("create table if not exists heartbeat as select clock_timestamp() as at")
    with Watch(patroni) as watch:
        assert why_not(patroni, failover(primary, standby)) == f"{primary.name} works: use database.switchover"
        with full(primary):
            assert why_not(patroni, failover(primary, standby)).startswith(f"{primary.name} is overloaded, not dead")
        server = primary.postgres()
        primary.manager.kill()
        alone = f"{primary.name} takes writes, and its manager does not answer: stop it, or start its manager"
        assert why_not(patroni, failover(primary, standby)) == alone
        process_tree.freeze(server)
        assert f"not dead: {standby.name} heard of it" in why_not(patroni, failover(primary, standby, "1h"))
        assert "so it may still take writes" in why_not(patroni, failover(primary, standby, "0s"))
        process_tree.kill(server)
        with world(patroni).act(90) as here:
            told = failover(primary, standby).apply(here)
            assert isinstance(failover(primary, standby).observe(here), InPlace)
        assert told["leader"] == standby.name
        assert isinstance(told["lost_at_most_seconds"], float)
        patroni.start(primary)
        assert patroni.roles() == (standby, primary)
    assert not watch.two_writable


@contextmanager
def full(node: PatroniNode) -> Iterator[None]:
    """No connection is left."""
    with ExitStack() as taken:
        with suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(node.dsn))
        yield
