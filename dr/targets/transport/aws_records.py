"""Weighted records of Amazon Route 53. Loads boto3."""

from collections.abc import Mapping
from typing import Any, Final

from dr.targets.protocols import Conflict
from dr.targets.transport.aws_api import Api, Refused

SERVICE: Final = "route53"
PAGE: Final = "300"
"""Records at most; Route 53 allows 100 of one name and type, so one page has them all."""


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

    def _records(self, zone: str, name: str, kind: str) -> list[dict[str, Any]]:
        """The records; they stand together, for a zone is listed by name and type."""
        start = {"StartRecordName": name, "StartRecordType": kind, "MaxItems": PAGE}
        answer = self._api.ask(SERVICE, "list_resource_record_sets", HostedZoneId=zone, **start)
        found = [each for each in answer["ResourceRecordSets"] if _is(each, name, kind) and "Weight" in each]
        if not found:
            raise LookupError(f"the zone {zone} has no weighted {kind} records of {name}")
        return found


def _is(record: Mapping[str, Any], name: str, kind: str) -> bool:
    return (str(record["Name"]).rstrip(".").lower(), record["Type"]) == (name.rstrip(".").lower(), kind)


def _weights(records: list[dict[str, Any]]) -> dict[str, int]:
    return {record["SetIdentifier"]: record["Weight"] for record in records}
