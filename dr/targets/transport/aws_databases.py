"""Databases of Amazon RDS and Aurora. Loads boto3."""

from collections.abc import Mapping
from typing import Final

from dr.targets.cloud import GlobalCluster, ManagedCluster, ManagedInstance
from dr.targets.transport.aws_api import Api

SERVICE: Final = "rds"


class RdsDatabases:
    """ManagedDatabases (`dr.targets.cloud`)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def instance(self, name: str) -> ManagedInstance:
        [found] = self._api.ask(SERVICE, "describe_db_instances", DBInstanceIdentifier=name)["DBInstances"]
        follows = found.get("ReadReplicaSourceDBInstanceIdentifier") or ""
        followers = tuple(found.get("ReadReplicaDBInstanceIdentifiers", ()))
        return ManagedInstance(status=found["DBInstanceStatus"], follows=follows, followers=followers)

    def promote(self, name: str) -> None:
        self._api.once(SERVICE, "promote_read_replica", DBInstanceIdentifier=name)

    def switch_over(self, name: str) -> None:
        self._api.once(SERVICE, "switchover_read_replica", DBInstanceIdentifier=name)

    def cluster(self, name: str) -> ManagedCluster:
        [found] = self._api.ask(SERVICE, "describe_db_clusters", DBClusterIdentifier=name)["DBClusters"]
        members = {member["DBInstanceIdentifier"]: member["IsClusterWriter"] for member in found["DBClusterMembers"]}
        return ManagedCluster(status=found["Status"], writer=_writer(members), members=tuple(members))

    def fail_over(self, cluster: str, to: str) -> None:
        self._api.once(SERVICE, "failover_db_cluster", DBClusterIdentifier=cluster, TargetDBInstanceIdentifier=to)

    def global_cluster(self, name: str) -> GlobalCluster:
        [found] = self._api.ask(SERVICE, "describe_global_clusters", GlobalClusterIdentifier=name)["GlobalClusters"]
        members = {member["DBClusterArn"]: member["IsWriter"] for member in found["GlobalClusterMembers"]}
        return GlobalCluster(
            status=found["Status"],
            changing=found.get("FailoverState", {}).get("Status", ""),
            writer=_writer(members),
            members=tuple(members),
            behind=tuple(
                member["DBClusterArn"]
                for member in found["GlobalClusterMembers"]
                if member.get("SynchronizationStatus") == "pending-resync"
            ),
        )

    def switch_over_globally(self, name: str, to: str) -> None:
        """Asked in the region that writes, as RDS wants it."""
        there = self._api.in_region(_region(self.global_cluster(name).writer or to))
        which = {"GlobalClusterIdentifier": name, "TargetDbClusterIdentifier": to}
        there.once(SERVICE, "switchover_global_cluster", **which)

    def fail_over_globally(self, name: str, to: str) -> None:
        """Asked in the region that is to write: the one that wrote is gone."""
        which = {"GlobalClusterIdentifier": name, "TargetDbClusterIdentifier": to}
        self._api.in_region(_region(to)).once(SERVICE, "failover_global_cluster", AllowDataLoss=True, **which)


def _region(arn: str) -> str:
    """The region that an ARN names: `arn:aws:rds:REGION:...`."""
    return arn.split(":")[3]


def _writer(members: Mapping[str, bool]) -> str:
    """The member that writes. In the middle of a change AWS may show none or two: then nobody does yet."""
    writers = [member for member, writes in members.items() if writes]
    return writers[0] if len(writers) == 1 else ""
