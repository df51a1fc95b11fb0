"""An Aurora global database and an Oracle pair on Amazon RDS: moto, taught the calls that it lacks.

What is taught keeps RDS's rules: in which region a change is asked for, what is refused, that a change takes a while. A
test ends in failure if two clusters ever write.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from moto.core.responses import ActionResult
from moto.rds.exceptions import RDSClientError
from moto.rds.models import GlobalCluster, rds_backends
from moto.rds.responses import RDSResponse

from localstack.instance import REGION
from tests.moto_fixture import Moto

ACCOUNT: Final = "123456789012"
WRITES, READS = REGION, "eu-west-1"
LOGIN: Final = {"MasterUsername": "dba", "MasterUserPassword": "not-a-secret"}


class GlobalDatabase:
    """A global database whose cluster in `WRITES` writes and whose cluster in `READS` follows."""

    def __init__(self, moto: Moto) -> None:
        self.name = f"shop-{uuid.uuid4().hex[:8]}"
        moto.client("rds").create_global_cluster(GlobalClusterIdentifier=self.name, Engine="aurora-postgresql")
        self.writer, self.reader = (self._add(moto, region) for region in (WRITES, READS))
        self.ahead: list[str] = []
        """What the change under way is doing now, and at the next looks."""
        self.steps: tuple[str, ...] = ("pending", "failing-over", "failing-over")
        self._is_held = False
        self.behind: set[str] = set()
        self.calls: list[str] = []

    def _add(self, moto: Moto, region: str) -> str:
        made = moto.client("rds", region).create_db_cluster(
            DBClusterIdentifier=f"{self.name}-{region}",
            Engine="aurora-postgresql",
            GlobalClusterIdentifier=self.name,
            **({} if region == READS else LOGIN),
        )
        return str(made["DBCluster"]["DBClusterArn"])

    @property
    def kept(self) -> Any:
        """What moto keeps of it."""
        return rds_backends[ACCOUNT]["us-east-1"].global_clusters[self.name]

    @property
    def writes_now(self) -> str:
        [writer] = [member.db_cluster_arn for member in self.kept.members if member.is_writer]
        return str(writer)

    def begin(self, to: str) -> None:
        """A change of the writer begins, and is through at the third look after this, or as soon as `steps` says."""
        self._to = to
        self.ahead = list(self.steps)
        self.kept.failover_state = {"Status": self.ahead[0], "ToDbClusterArn": to}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever is under way goes on only afterwards."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def go_on(self) -> None:
        """Time passes from one look to the next."""
        if self._is_held or not self.ahead:
            return
        self.ahead.pop(0)
        self.kept.failover_state = {"Status": self.ahead[0], "ToDbClusterArn": self._to} if self.ahead else {}
        if len(self.ahead) <= 1:
            self.settle(self._to)  # roles have changed, and where there is a step left, still something is going on

    def settle(self, writer: str) -> None:
        for member in self.kept.members:
            member.is_writer = member.db_cluster_arn == writer
        assert sum(member.is_writer for member in self.kept.members) == 1, "two clusters write, or none"

    def shown(self) -> dict[str, Any]:
        members = self.kept.global_cluster_members
        for member in members:
            member["SynchronizationStatus"] = "pending-resync" if member["DBClusterArn"] in self.behind else "connected"
        state = getattr(self.kept, "failover_state", {})
        return {
            "GlobalClusterIdentifier": self.name,
            "Status": self.kept.status,
            "GlobalClusterMembers": members,
            **({"FailoverState": state} if state else {}),
        }

    def asked(self, call: str, region: str, parameters: dict[str, Any]) -> None:
        """A change is asked for. Raises what RDS answers if it refuses."""
        self.calls.append(call)
        to = parameters["TargetDbClusterIdentifier"]
        where = self.writes_now if call == "switchover" else to
        if f":{region}:" not in where:
            raise RDSClientError("InvalidGlobalClusterStateFault", f"a {call} is asked for in the region of {where}")
        if call == "switchover" and (to in self.behind or self.kept.status != "available"):
            raise RDSClientError("InvalidGlobalClusterStateFault", "it is not well")
        if call == "failover" and parameters.get("AllowDataLoss") is not True:
            raise RDSClientError("InvalidParameterCombination", "without AllowDataLoss it is a switchover")
        self.begin(to)


@contextmanager
def taught(world: GlobalDatabase) -> Iterator[None]:
    """moto answers for this global database as RDS does."""

    def describe(response: Any) -> ActionResult:
        if response.params.get("GlobalClusterIdentifier") != world.name:
            raise RDSClientError("GlobalClusterNotFoundFault", "there is no such global cluster")
        world.go_on()
        return ActionResult({"GlobalClusters": [world.shown()]})

    def switch_over(response: Any) -> ActionResult:
        world.asked("switchover", response.region, response.params)
        return ActionResult({"GlobalCluster": world.shown()})

    def fail_over(response: Any) -> ActionResult:
        world.asked("failover", response.region, response.params)
        return ActionResult({"GlobalCluster": world.shown()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GlobalCluster, "failover_state", {}, raising=False)
        patch.setattr(RDSResponse, "describe_global_clusters", describe)
        patch.setattr(RDSResponse, "switchover_global_cluster", switch_over, raising=False)
        patch.setattr(RDSResponse, "failover_global_cluster", fail_over, raising=False)
        yield


@contextmanager
def taught_switchover_of_replicas() -> Iterator[None]:
    """moto changes the roles of a replica and its source, at once."""

    def switch_over(response: Any) -> ActionResult:
        name = response.params["DBInstanceIdentifier"]
        standby = response.backend.databases[name]
        source = standby.source_db_instance_identifier
        if not source or standby.status != "available":
            raise RDSClientError("InvalidDBInstanceState", f"{name} is no standby that is available")
        primary = response.backend.databases[source]
        primary.source_db_instance_identifier, standby.source_db_instance_identifier = name, None
        primary.replicas.remove(name)
        standby.replicas.append(source)
        return ActionResult({"DBInstance": standby})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RDSResponse, "switchover_read_replica", switch_over, raising=False)
        yield
