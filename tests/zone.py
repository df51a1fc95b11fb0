"""A zone of Route 53 in LocalStack, with weighted records."""

import uuid
from collections.abc import Mapping
from typing import Any

from dr.targets.route53 import Route53Traffic
from localstack.instance import REGION, LocalStack

NAME = "shop.example.org"


class Zone:
    """A zone in which two sites share a name, and many others stand beside it."""

    def __init__(
        self, localstack: LocalStack, weights: dict[str, int], at: Mapping[str, str] | None = None, ttl: int = 60
    ) -> None:
        """`at` gives the sites' addresses, where somebody is to follow the zone to them."""
        self._client = localstack.client("route53")
        self._at, self._ttl = at or {}, ttl
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
        config = {"Type": "HTTP", "IPAddress": self._address(site), "Port": 80, **rules}
        made = self._client.create_health_check(CallerReference=uuid.uuid4().hex, HealthCheckConfig=config)
        check: str = made["HealthCheck"]["Id"]
        self._put([{**self._weighted(site, weight), "HealthCheckId": check}])
        return check

    def _weighted(self, site: str, weight: int) -> dict[str, Any]:
        record = {"Name": NAME, "Type": "A", "SetIdentifier": site, "Weight": weight, "TTL": self._ttl}
        return {**record, "ResourceRecords": [{"Value": self._address(site)}]}

    def _address(self, site: str) -> str:
        return self._at.get(site, "192.0.2.1")

    def _put(self, records: list[dict[str, Any]]) -> None:
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]
        self._client.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch={"Changes": changes})

    def alias(self, site: str, weight: int) -> None:
        """The site's record is an alias, which has no time to live of its own."""
        record = {
            key: value for key, value in self._weighted(site, weight).items() if key not in {"TTL", "ResourceRecords"}
        }
        target = {"HostedZoneId": self.id, "DNSName": f"z.{NAME}", "EvaluateTargetHealth": False}
        self._put([{**record, "AliasTarget": target}])

    def rules(self, check: str) -> dict[str, Any]:
        """What a health check looks at."""
        return dict(self._client.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"])

    def records(self) -> list[dict[str, Any]]:
        found = self._client.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return [record for record in found if "Weight" in record]

    def weights(self) -> dict[str, int]:
        return {record["SetIdentifier"]: record["Weight"] for record in self.records()}
