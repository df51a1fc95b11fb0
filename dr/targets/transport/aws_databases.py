"""Databases of Amazon RDS and Aurora. Loads boto3."""

from typing import Final

from dr.targets.cloud import ManagedCluster, ManagedInstance
from dr.targets.transport.aws_api import Api

SERVICE: Final = "rds"


class RdsDatabases:
    """ManagedDatabases (`dr.targets.cloud`)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def instance(self, name: str) -> ManagedInstance:
        [found] = self._api.ask(SERVICE, "describe_db_instances", DBInstanceIdentifier=name)["DBInstances"]
        follows = found.get("ReadReplicaSourceDBInstanceIdentifier") or ""
        return ManagedInstance(status=found["DBInstanceStatus"], follows=follows)

    def promote(self, name: str) -> None:
        self._api.once(SERVICE, "promote_read_replica", DBInstanceIdentifier=name)

    def cluster(self, name: str) -> ManagedCluster:
        [found] = self._api.ask(SERVICE, "describe_db_clusters", DBClusterIdentifier=name)["DBClusters"]
        members = {member["DBInstanceIdentifier"]: member["IsClusterWriter"] for member in found["DBClusterMembers"]}
        writers = [member for member, writes in members.items() if writes]
        # In the middle of a failover AWS may show none or two: then nobody is the writer yet.
        writer = writers[0] if len(writers) == 1 else ""
        return ManagedCluster(status=found["Status"], writer=writer, members=tuple(members))

    def fail_over(self, cluster: str, to: str) -> None:
        self._api.once(SERVICE, "failover_db_cluster", DBClusterIdentifier=cluster, TargetDBInstanceIdentifier=to)
