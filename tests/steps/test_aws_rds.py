"""Against moto: LocalStack without Docker has no RDS. What moto does at once, these tests have take a while."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from moto.rds.models import rds_backends

from dr.core.duration import Duration
from dr.core.step import InPlace, NotInPlace, Unknown
from dr.steps import aws_rds
from dr.steps.aws_rds import AwsRdsFailover, AwsRdsPromote, AwsRdsSwitchover
from dr.targets.cloud import NotReady, SourceMayWrite
from dr.targets.protocols import Conflict
from localstack.instance import REGION
from tests.here import World
from tests.moto_fixture import Moto
from tests.rds_world import ACCOUNT, taught_switchover_of_replicas


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_rds, "EVERY", 0.01)


def backend() -> Any:
    """What moto keeps, for what it does otherwise than AWS."""
    return rds_backends[ACCOUNT][REGION]


class Replicated:
    """An instance and its read replica."""

    def __init__(self, moto: Moto) -> None:
        self._rds = moto.client("rds")
        self.source = f"main-{uuid.uuid4().hex[:8]}"
        self.replica = f"{self.source}-replica"
        login = {"MasterUsername": "dba", "MasterUserPassword": "not-a-secret"}
        size: dict[str, Any] = {"Engine": "postgres", "DBInstanceClass": "db.t3.micro", "AllocatedStorage": 10}
        self._rds.create_db_instance(DBInstanceIdentifier=self.source, **size, **login)
        self._rds.create_db_instance_read_replica(
            DBInstanceIdentifier=self.replica, SourceDBInstanceIdentifier=self.source
        )

    def stop_source(self) -> None:
        backend().databases[self.source].status = "stopped"  # AWS itself refuses to stop one that has replicas

    def finish(self, status: str = "available") -> None:
        """Go on as AWS does when a promotion was asked for: moto would name the source forever."""
        replica = backend().databases[self.replica]
        if not replica.is_replica:
            replica.source_db_instance_identifier = None
        replica.status = status

    def switchover(self, **more: Any) -> AwsRdsSwitchover:
        return AwsRdsSwitchover(**{"account": "cloud", "replica": self.replica, "within": Duration(30), **more})

    def roles(self, replica: str) -> dict[str, object]:
        """What `preview` shows of `self.replica` while that one is the replica."""
        if replica == self.replica:
            return {"status": "available", "follows": self.source, "followers": []}
        return {"status": "available", "follows": "", "followers": [self.source]}

    def step(self, **more: Any) -> AwsRdsPromote:
        return AwsRdsPromote(**{"account": "cloud", "replica": self.replica, "within": Duration(30), **more})


@pytest.fixture
def replicated(moto: Moto) -> Replicated:
    return Replicated(moto)


class Cluster:
    """A cluster of two members."""

    def __init__(self, moto: Moto) -> None:
        rds = moto.client("rds")
        self.name = f"aurora-{uuid.uuid4().hex[:8]}"
        self.members = [f"{self.name}-{letter}" for letter in "abc"]
        rds.create_db_cluster(
            DBClusterIdentifier=self.name,
            Engine="aurora-postgresql",
            MasterUsername="dba",
            MasterUserPassword="not-a-secret",
        )
        for member in self.members:
            rds.create_db_instance(
                DBInstanceIdentifier=member,
                DBClusterIdentifier=self.name,
                Engine="aurora-postgresql",
                DBInstanceClass="db.r6g.large",
            )
        self._rds = rds

    def fail_over(self, to: str) -> None:
        self._rds.failover_db_cluster(DBClusterIdentifier=self.name, TargetDBInstanceIdentifier=to)

    def status(self, status: str) -> None:
        backend().clusters[self.name].status = status

    def step(self, **more: Any) -> AwsRdsFailover:
        to = self.members[1]
        return AwsRdsFailover(**{"account": "cloud", "cluster": self.name, "to": to, "within": Duration(30), **more})


@pytest.fixture
def cluster(moto: Moto) -> Cluster:
    return Cluster(moto)


def test_a_replica_whose_source_may_take_writes_is_not_promoted(moto_cloud: World, replicated: Replicated) -> None:
    """Safety rule 10."""
    with moto_cloud.act() as here, pytest.raises(SourceMayWrite, match="is available and may still take writes"):
        replicated.step().apply(here)
    with moto_cloud.look() as here:
        assert replicated.step().observe(here) == NotInPlace({"status": "available", "follows": replicated.source})


@pytest.mark.parametrize("fenced", [True, False])
def test_a_replica_is_promoted_when_its_source_is_stopped_or_said_to_be_fenced(
    moto_cloud: World, replicated: Replicated, *, fenced: bool
) -> None:
    if not fenced:
        replicated.stop_source()
    step = replicated.step(source_is_fenced=fenced)
    with moto_cloud.act() as here:
        step.apply(here)
        replicated.finish()
        step.apply(here)
        assert step.observe(here) == InPlace({"status": "available", "follows": ""})


def test_a_source_in_another_region_is_not_known_to_be_gone(moto_cloud: World, replicated: Replicated) -> None:
    arn = f"arn:aws:rds:eu-west-1:{ACCOUNT}:db:main"
    backend().databases[replicated.replica].source_db_instance_identifier = arn
    with moto_cloud.act() as here, pytest.raises(SourceMayWrite, match=r"arn:aws:.* stands in another region"):
        replicated.step().apply(here)


def test_a_promotion_is_done_only_when_the_instance_is_available(
    moto_cloud: World, replicated: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = replicated.step(source_is_fenced=True)
    with moto_cloud.act() as here:
        step.apply(here)
        replicated.finish("rebooting")
        seen: list[str] = []

        def finish(text: str) -> None:
            seen.append(text)
            replicated.finish()

        monkeypatch.setattr(here, "say", finish)
        assert isinstance(step.observe(here), InPlace)
    assert seen == [f"{replicated.replica} is rebooting"]


def test_a_promotion_that_does_not_end_in_time_is_in_doubt(moto_cloud: World, replicated: Replicated) -> None:
    step = replicated.step(source_is_fenced=True, within=Duration(0.1))
    with moto_cloud.act() as here:
        step.apply(here)
        replicated.finish("modifying")
        assert step.observe(here) == Unknown(f"after 100ms, {replicated.replica} is modifying")


def test_another_member_becomes_the_writer_and_the_former_one_again(moto_cloud: World, cluster: Cluster) -> None:
    step, (first, second, _) = cluster.step(), cluster.members
    with moto_cloud.look() as here:
        before = step.observe(here)
    assert before == NotInPlace({"status": "available", "writer": first, "members": cluster.members})
    with moto_cloud.act() as here:
        step.apply(here)
        step.apply(here)
        seen = step.observe(here)
        assert isinstance(seen, InPlace)
        assert seen.evidence["writer"] == second
        step.undo(here, before.evidence)
        step.undo(here, before.evidence)
        assert isinstance(step.observe_undone(here, before.evidence), InPlace)
        assert step.preview(here)["writer"] == first


def test_a_failover_under_way_is_waited_for_also_before_the_first_attempt(
    moto_cloud: World, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.fail_over(cluster.members[1])
    cluster.status("failing-over")
    with moto_cloud.look() as here:
        seen: list[str] = []

        def finish(text: str) -> None:
            seen.append(text)
            cluster.status("available")

        monkeypatch.setattr(here, "say", finish)
        assert isinstance(cluster.step().observe(here), InPlace)
    assert seen == [f"{cluster.name} is failing-over, its writer {cluster.members[1]}"]


def test_a_failover_that_did_not_come_about_is_not_done(moto_cloud: World, cluster: Cluster) -> None:
    with moto_cloud.act() as here:
        assert isinstance(cluster.step(within=Duration(0.1)).observe(here), NotInPlace)


def test_a_failover_that_does_not_end_in_time_is_in_doubt(moto_cloud: World, cluster: Cluster) -> None:
    with moto_cloud.act() as here:
        cluster.step().apply(here)
        cluster.status("failing-over")
        assert isinstance(cluster.step(within=Duration(0.1)).observe(here), Unknown)


def test_a_writer_that_somebody_else_has_chosen_stays(moto_cloud: World, cluster: Cluster) -> None:
    with moto_cloud.act() as here:
        cluster.step().apply(here)
        cluster.fail_over(cluster.members[2])
        with pytest.raises(Conflict, match=f"the writer of {cluster.name} is {cluster.members[2]}"):
            cluster.step().undo(here, {"writer": cluster.members[0]})


def test_only_a_member_can_become_the_writer(moto_cloud: World, cluster: Cluster) -> None:
    with moto_cloud.act() as here, pytest.raises(LookupError, match=f"stranger is no member of {cluster.name}"):
        cluster.step(to="stranger").apply(here)


def test_what_is_not_there_is_told(moto_cloud: World) -> None:
    with moto_cloud.look() as here:
        with pytest.raises(LookupError, match="DBInstanceNotFound"):
            AwsRdsPromote(account="cloud", replica="none").observe(here)
        with pytest.raises(LookupError, match="DBClusterNotFound"):
            AwsRdsFailover(account="cloud", cluster="none", to="a").observe(here)


@pytest.fixture
def taught() -> Iterator[None]:
    with taught_switchover_of_replicas():
        yield


@pytest.mark.usefixtures("taught")
def test_a_replica_and_its_source_change_roles_and_back(moto_cloud: World, replicated: Replicated) -> None:
    step, before = replicated.switchover(), replicated.roles(replicated.replica)
    with moto_cloud.look() as here:
        assert step.observe(here) == NotInPlace(before)
    with moto_cloud.act() as here:
        step.apply(here)
        step.apply(here)
        assert step.observe(here) == InPlace(replicated.roles(replicated.source))
        step.undo(here, before)
        step.undo(here, before)
        assert step.observe_undone(here, before) == InPlace(before)


@pytest.mark.usefixtures("taught")
def test_roles_are_changed_only_when_nothing_else_is_going_on(moto_cloud: World, replicated: Replicated) -> None:
    """Safety rule 9."""
    backend().databases[replicated.replica].status = "backing-up"
    with moto_cloud.act() as here, pytest.raises(NotReady, match="is backing-up; roles are changed only"):
        replicated.switchover().apply(here)


@pytest.mark.usefixtures("taught")
def test_roles_that_are_still_changing_are_in_doubt(moto_cloud: World, replicated: Replicated) -> None:
    with moto_cloud.act() as here:
        replicated.switchover().apply(here)
        backend().databases[replicated.replica].status = "modifying"
        assert isinstance(replicated.switchover(within=Duration(0.1)).observe(here), Unknown)


def test_an_instance_that_was_promoted_has_not_changed_roles(moto_cloud: World, replicated: Replicated) -> None:
    backend().databases[replicated.replica].source_db_instance_identifier = None
    with moto_cloud.act() as here:
        assert isinstance(replicated.switchover(within=Duration(0.1)).observe(here), NotInPlace)
        with pytest.raises(LookupError, match="follows no instance with which it could change roles"):
            replicated.switchover().apply(here)


@pytest.mark.usefixtures("taught")
def test_an_undo_leaves_a_former_primary_that_follows_another_one_by_now(
    moto_cloud: World, replicated: Replicated
) -> None:
    before = replicated.roles(replicated.replica)
    with moto_cloud.act() as here:
        replicated.switchover().apply(here)
        backend().databases[replicated.source].source_db_instance_identifier = "third"
        with pytest.raises(Conflict, match="follows third, not"):
            replicated.switchover().undo(here, before)
        with pytest.raises(LookupError, match="stands in another region"):
            replicated.switchover().undo(here, {**before, "follows": f"arn:aws:rds:eu-west-1:{ACCOUNT}:db:main"})
