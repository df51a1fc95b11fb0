"""A region is evacuated by the real `dr`, in an AWS that runs on this machine; with kill -9, and with the way back."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localstack.instance import CREDENTIALS, REGION, LocalStack
from tests.cli.shell import Outcome, dr, journal, started, until, write
from tests.proxy import Fault, Proxy

TOKEN, OLD = "s3cr3t-new-token", "s3cr3t-old-token"
RUNBOOK = """\
name: evacuate
title: Traffic leaves the region
steps:
  - id: tell
    kind: notify
    with: {{via: people, subject: The region is evacuated, text: Do not deploy.}}
  - id: read-only
    kind: aws.parameter
    with: {{account: cloud, name: {prefix}/mode, value: read-only}}
  - id: token
    kind: aws.parameter
    with: {{account: cloud, name: {prefix}/token, secret: "ssm:{prefix}/next-token"}}
  - id: search-off
    kind: feature.disable
    with: {{store: flags, flag: search}}
  - id: traffic
    kind: aws.route53.shift
    with: {{account: cloud, zone: {zone}, name: shop.example.org, weights: {{home: 0, away: 100}}}}
"""
REFUSED = """\
  - id: refused
    kind: aws.parameter
    with: {{account: cloud, name: {prefix}/token, value: everybody can read this}}
    retry: {{attempts: 1}}
    on_failure: rollback
"""


class Site:
    """What the runbook acts on, and `dr` in a folder of its own."""

    def __init__(self, localstack: LocalStack, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"/shop/{uuid.uuid4().hex}"
        self._ssm, self._route53 = localstack.client("ssm"), localstack.client("route53")
        secret = {"token": OLD, "next-token": TOKEN}
        for name, value in {"mode": "normal", "search": "on", **secret}.items():
            kind = "SecureString" if name in secret else "String"
            self._ssm.put_parameter(Name=f"{self.prefix}/{name}", Value=value, Type=kind)
        made = self._route53.create_hosted_zone(Name="example.org", CallerReference=self.prefix)
        self._zone = made["HostedZone"]["Id"].rpartition("/")[2]
        changes = [self._record("home", 100), self._record("away", 0)]
        self._route53.change_resource_record_sets(HostedZoneId=self._zone, ChangeBatch={"Changes": changes})
        self._topic = localstack.client("sns").create_topic(Name=self.prefix.replace("/", "-"))["TopicArn"]
        self.declare(localstack.endpoint)
        settings = f"[default]\nregion = {REGION}\nendpoint_url = {localstack.endpoint}\n"
        credentials = "[default]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in CREDENTIALS.items())
        write(folder, {".aws/config": settings, ".aws/credentials": credentials})
        runbook = {"prefix": self.prefix, "zone": self._zone}
        write(folder, {"good.yaml": RUNBOOK.format(**runbook), "bad.yaml": (RUNBOOK + REFUSED).format(**runbook)})

    def declare(self, endpoint: str) -> None:
        """Write the dr.toml whose AWS is there."""
        access = f'region = "{REGION}"\nendpoint = "{endpoint}"'
        kinds = {"cloud": 'type = "aws"', "people": f'type = "sns"\ntopic = "{self._topic}"'}
        kinds["flags"] = f'type = "ssm-flags"\nprefix = "{self.prefix}/"'
        write(
            self.folder,
            {
                "dr.toml": "".join(
                    f"[environments.aws.targets.{name}]\n{kind}\n{access}\n" for name, kind in kinds.items()
                )
            },
        )

    def dr(self, *arguments: str) -> Outcome:
        return dr(self.folder, *arguments)

    def stands(self) -> dict[str, object]:
        """What an application would find."""
        found: dict[str, object] = {name: self._parameter(name)["Value"] for name in ("mode", "token", "search")}
        records = self._route53.list_resource_record_sets(HostedZoneId=self._zone)["ResourceRecordSets"]
        return found | {record["SetIdentifier"]: record["Weight"] for record in records if "Weight" in record}

    def version(self, name: str) -> int:
        """How often the parameter was written."""
        version: int = self._parameter(name)["Version"]
        return version

    def _parameter(self, name: str) -> dict[str, Any]:
        found = self._ssm.get_parameter(Name=f"{self.prefix}/{name}", WithDecryption=True)
        return dict(found["Parameter"])

    def _record(self, site: str, weight: int) -> dict[str, Any]:
        record = {"Name": "shop.example.org", "Type": "A", "SetIdentifier": site, "Weight": weight, "TTL": 60}
        # LocalStack never accepts the same CREATE twice, also if the record has been deleted since.
        return {"Action": "UPSERT", "ResourceRecordSet": {**record, "ResourceRecords": [{"Value": "192.0.2.1"}]}}


BEFORE = {"mode": "normal", "token": OLD, "search": "on", "home": 100, "away": 0}
AFTER = {"mode": "read-only", "token": TOKEN, "search": "off", "home": 0, "away": 100}


@pytest.fixture
def site(localstack: LocalStack, tmp_path: Path) -> Site:
    return Site(localstack, tmp_path)


@pytest.fixture(autouse=True)
def no_secret_is_left(site: Site) -> Iterator[None]:
    """Safety rule 13: in no file that a run has written."""
    yield
    for file in site.folder.rglob("*"):
        assert not file.is_file() or not any(secret in file.read_text() for secret in (TOKEN, OLD)), file


def test_a_region_is_evacuated_and_every_step_is_proven(site: Site) -> None:
    seen = site.dr("run", "good.yaml", "--env", "aws", "--yes")
    assert seen.status == 0, seen.err
    assert site.stands() == AFTER
    done = {event["step"]: event["evidence"] for event in journal(site.folder) if event["type"] == "step-done"}
    assert done["read-only"] == {"exists": True, "version": 2, "value": "read-only"}
    assert done["token"] == {"exists": True, "version": 2}
    assert done["search-off"] == {"enabled": False, "variant": ""}
    assert done["traffic"] == {"weights": {"away": 100, "home": 0}}
    assert done["tell"].keys() == {"message"}
    assert TOKEN not in seen.out + seen.err


def test_what_comes_too_late_is_undone_in_reverse_order(site: Site) -> None:
    seen = site.dr("run", "bad.yaml", "--env", "aws", "--yes")
    assert seen.status == 4, seen.err
    assert "is a SecureString and is given no secret" in seen.out + seen.err
    assert site.stands() == BEFORE
    undone = [event["step"] for event in journal(site.folder) if event["type"] == "step-undone"]
    assert undone == ["refused", "traffic", "search-off", "token", "read-only"]


def test_a_change_that_aws_made_just_before_kill_9_is_seen_and_not_made_again(
    site: Site, localstack: LocalStack
) -> None:
    """Safety rules 1 and 2."""
    with Proxy(localstack.endpoint) as proxy:
        site.declare(proxy.endpoint)
        proxy.on(Fault.HANG_BEFORE_REPLY, method="POST", path="/rrset")
        with started(site.folder, "run", "good.yaml", "--env", "aws", "--yes"):
            until(lambda: site.stands()["home"] == 0)
        assert site.dr("resume", "latest").status == 0
        assert len([request for request in proxy.seen if request.path.endswith("/rrset/")]) == 1
    assert site.stands() == AFTER
    assert (site.version("mode"), site.version("token")) == (2, 2)


def test_the_plan_shows_what_stands_and_touches_nothing(site: Site) -> None:
    seen = site.dr("plan", "good.yaml", "--env", "aws", "--look")
    assert seen.status == 0, seen.err
    assert f"Set the parameter {site.prefix}/mode of cloud to 'read-only'" in seen.out
    assert "normal" in seen.out
    assert site.stands() == BEFORE
