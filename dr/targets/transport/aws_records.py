"""Weighted records of Amazon Route 53. Loads boto3."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dr.targets.protocols import Conflict
from dr.targets.transport.aws_api import Api, Refused

SERVICE: Final = "route53"
PAGE: Final = "300"
"""Records at most; Route 53 allows 100 of one name and type, so one page has them all."""

ALIAS: Final = 60
"""Seconds for which an alias of a load balancer or a distribution may be kept: Route 53's own, not in the record."""
NOT_TOLD: Final = {"CALCULATED", "CLOUDWATCH_METRIC", "RECOVERY_CONTROL"}
"""Health checks that have no checkers whose reports could be read."""
ENOUGH: Final = 0.18
"""Part of the checkers; when more than this see the endpoint well, Route 53 takes it for well."""


class Route53Records:
    """WeightedRecords (`dr.targets.cloud`).

    A record is deleted as it was seen and created with its new weight, in one batch that is applied whole or not at
    all: Route 53 refuses to delete what does not stand so, and that is the compare-and-set it has. An UPSERT would
    overwrite what somebody else changed a moment ago.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def read(self, zone: str, name: str, kind: str) -> Mapping[str, int]:
        return _weights(self._records(zone, name, kind))

    def time_to_live(self, zone: str, name: str, kind: str) -> float:
        return float(max(record.get("TTL", ALIAS) for record in self._records(zone, name, kind)))

    def health(self, zone: str, name: str, kind: str) -> Mapping[str, bool | None]:
        records = self._records(zone, name, kind)
        return {record["SetIdentifier"]: self._health(record.get("HealthCheckId")) for record in records}

    def write(self, zone: str, name: str, kind: str, weights: Mapping[str, int], *, expected: Mapping[str, int]) -> str:
        records = self._records(zone, name, kind)
        if _weights(records) != expected:
            raise Conflict(f"the weights of {name} were changed by somebody else: {_weights(records)}, not {expected}")
        changes = []
        for record in records:
            weight = weights.get(record["SetIdentifier"], record["Weight"])
            if weight != record["Weight"]:
                changes.append({"Action": "DELETE", "ResourceRecordSet": record})
                changes.append({"Action": "CREATE", "ResourceRecordSet": {**record, "Weight": weight}})
        if not changes:
            return ""
        try:
            answer = self._api.ask(
                SERVICE, "change_resource_record_sets", HostedZoneId=zone, ChangeBatch={"Changes": changes}
            )
        except Refused as error:
            if error.code == "InvalidChangeBatch":
                raise Conflict(f"a record of {name} was changed by somebody else meanwhile: {error}") from None
            raise
        return str(answer["ChangeInfo"]["Id"])

    def is_in_sync(self, change: str) -> bool:
        answer = self._api.ask(SERVICE, "get_change", Id=change.removeprefix("/change/"))
        status: str = answer["ChangeInfo"]["Status"]
        return status == "INSYNC"

    def _health(self, check: str | None) -> bool | None:
        if check is None:
            return None
        rules = self._api.ask(SERVICE, "get_health_check", HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]
        if rules["Type"] in NOT_TOLD:
            return None
        seen = self._api.ask(SERVICE, "get_health_check_status", HealthCheckId=check)["HealthCheckObservations"]
        return healthy(rules, [each["StatusReport"]["Status"] for each in seen])

    def _records(self, zone: str, name: str, kind: str) -> list[dict[str, Any]]:
        """The records; they stand together, for a zone is listed by name and type."""
        start = {"StartRecordName": name, "StartRecordType": kind, "MaxItems": PAGE}
        answer = self._api.ask(SERVICE, "list_resource_record_sets", HostedZoneId=zone, **start)
        found = [each for each in answer["ResourceRecordSets"] if _is(each, name, kind) and "Weight" in each]
        if not found:
            raise LookupError(f"the zone {zone} has no weighted {kind} records of {name}")
        return found


def healthy(rules: Mapping[str, Any], reports: Sequence[str]) -> bool | None:
    """Whether Route 53 takes an endpoint for well by this health check, of whose checkers these are the reports."""
    if not reports:
        return None
    well = sum(report.startswith("Success") for report in reports) > ENOUGH * len(reports)
    return (well or bool(rules.get("Disabled"))) != bool(rules.get("Inverted"))


def _is(record: Mapping[str, Any], name: str, kind: str) -> bool:
    return (str(record["Name"]).rstrip(".").lower(), record["Type"]) == (name.rstrip(".").lower(), kind)


def _weights(records: list[dict[str, Any]]) -> dict[str, int]:
    return {record["SetIdentifier"]: record["Weight"] for record in records}
