"""A real LocalStack for the tests, started once, and fresh buckets in it for each test that asks.

A test that stops, freezes or fills LocalStack for good starts one of its own: `localstack.instance.running()`.
"""

import uuid
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dr.targets.aws import Aws
from localstack.instance import CREDENTIALS, READY, REGION, LocalStack, running
from tests.here import World

HOME, MIRROR = "eu-central-1", "eu-west-1"
RETENTION = {"Mode": "COMPLIANCE", "Days": 1}


class Bucket(NamedTuple):
    name: str
    region: str


class Buckets(NamedTuple):
    """Two buckets in two regions, empty and nobody else's."""

    home: Bucket
    mirror: Bucket


@pytest.fixture(scope="session")
def localstack() -> Iterator[LocalStack]:
    """AWS on this machine, shared by all tests: what you create in it has a name of its own."""
    if not READY.exists():
        pytest.skip("LocalStack is not installed: make build/localstack-venv/.ready")
    with running() as instance:
        yield instance


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 finds: accepted by LocalStack and by moto, and by nobody else."""
    set_credentials(monkeypatch)


def set_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cloud(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which the target `cloud` is LocalStack."""
    set_credentials(monkeypatch)
    return World({"cloud": Aws(region=REGION, endpoint=localstack.endpoint)}, {"env:TOKEN": "s3cr3t-token"})


@pytest.fixture
def buckets(localstack: LocalStack) -> Buckets:
    """Versioned, under Object Lock: for a day nobody can remove a version."""
    return create_buckets(localstack, locked=True)


@pytest.fixture
def unlocked_buckets(localstack: LocalStack) -> Buckets:
    """Versioned, without Object Lock: an insider with the right to delete can remove versions."""
    return create_buckets(localstack, locked=False)


def create_buckets(localstack: LocalStack, *, locked: bool) -> Buckets:
    """A pair under names that were never used before. There is no clean-up: LocalStack holds them in memory."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    pair = Buckets(Bucket(name, HOME), Bucket(f"{name}-mirror", MIRROR))
    for bucket in pair:
        create_bucket(localstack, bucket, locked=locked)
    return pair


def create_bucket(localstack: LocalStack, bucket: Bucket, *, locked: bool) -> None:
    s3 = localstack.client("s3", bucket.region)
    s3.create_bucket(
        Bucket=bucket.name,
        CreateBucketConfiguration={"LocationConstraint": bucket.region},
        ObjectLockEnabledForBucket=locked,
    )
    if locked:
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": RETENTION}}
        s3.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=rule)
    else:
        s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
