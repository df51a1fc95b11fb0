"""A zone of Route 53 in LocalStack, with weighted records."""

import uuid
from typing import Any

from dr.targets.route53 import Route53Traffic
from localstack.instance import REGION, LocalStack

NAME = "shop.example.org"


class Zone:
    """A zone in which two sites share a name, and many others stand beside it."""

    def __init__(self, localstack: LocalStack, weights: dict[str, int]) -> None:
        self._client = localstack.client("route53")
        made = self._client.create_hosted_zone(Name="example.org", CallerReference=uuid.uuid4().hex)
        self.id: str = made["HostedZone"]["Id"].rpartition("/")[2]
        self._put([self._weighted(site, weight) for site, weight in weights.items()])
        others = {"Type": "TXT", "TTL": 60, "ResourceRecords": [{"Value": '"x"'}]}
        self._put([{"Name": name, **others} for name in (NAME, f"z.{NAME}")])

    def traffic(self, localstack: LocalStack) -> Route53Traffic:
        """The zone as a router of users."""
        place = {"region": REGION, "endpoint": localstack.endpoint}
        return Route53Traffic(**place, zone=self.id, name=NAME, primary="here", standby="there")

    def put(self, site: str, weight: int) -> None:
        self._put([self._weighted(site, weight)])

    def checked(self, site: str, weight: int, **rules: Any) -> str:
        """Give the site a health check, which says that all is well unless the rules turn that round; its id."""
        config = {"Type": "HTTP", "IPAddress": "192.0.2.1", "Port": 80, **rules}
        made = self._client.create_health_check(CallerReference=uuid.uuid4().hex, HealthCheckConfig=config)
        check: str = made["HealthCheck"]["Id"]
        self._put([{**self._weighted(site, weight), "HealthCheckId": check}])
        return check

    def _weighted(self, site: str, weight: int) -> dict[str, Any]:
        record = {"Name": NAME, "Type": "A", "SetIdentifier": site, "Weight": weight, "TTL": 60}
        return {**record, "ResourceRecords": [{"Value": "192.0.2.1"}]}

    def _put(self, records: list[dict[str, Any]]) -> None:
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]
        self._client.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch={"Changes": changes})

    def records(self) -> list[dict[str, Any]]:
        found = self._client.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return [record for record in found if "Weight" in record]

    def weights(self) -> dict[str, int]:
        return {record["SetIdentifier"]: record["Weight"] for record in self.records()}
