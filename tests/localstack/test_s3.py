"""What the audit log relies on of S3, seen on the running LocalStack."""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localstack.instance import LocalStack
from tests.localstack_fixture import Bucket, Buckets

WRITERS = 16
ROUNDS = 5


@pytest.fixture
def s3(localstack: LocalStack) -> Any:
    return localstack.client("s3", max_pool_connections=WRITERS)


@pytest.fixture
def bucket(buckets: Buckets) -> str:
    """Versioned and under Object Lock: COMPLIANCE, one day."""
    return buckets.home.name


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(ClientError) as refusal:
        yield
    assert refusal.value.response["Error"]["Code"] == code


def sha256(body: bytes) -> str:
    return b64encode(hashlib.sha256(body).digest()).decode()


def versions(s3: Any, bucket: str, key: str = "") -> list[dict[str, Any]]:
    """The versions of all keys that begin with this one, in the order S3 gives them."""
    return list(s3.list_object_versions(Bucket=bucket, Prefix=key).get("Versions", []))


def first_version(s3: Any, bucket: str, key: str) -> str:
    """The version a key was created with: S3 lists the versions of a key newest first."""
    return [str(version["VersionId"]) for version in versions(s3, bucket, key) if version["Key"] == key][-1]


def body(s3: Any, bucket: str, key: str, version: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read())


class Creators:
    """Writers that all create the same object at the same moment."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket
        self.start = threading.Barrier(WRITERS)

    def create(self, key: str, writer: int) -> str:
        """What became of a writer's attempt: `stored`, or S3's error code."""
        self.start.wait()
        try:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=str(writer).encode(), IfNoneMatch="*")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "stored"


def test_of_many_who_create_one_object_exactly_one_wins(s3: Any, bucket: str) -> None:
    creators = Creators(s3, bucket)
    with ThreadPoolExecutor(WRITERS) as pool:
        for key in (f"entry-{number}" for number in range(ROUNDS)):
            outcomes = list(pool.map(creators.create, [key] * WRITERS, range(WRITERS)))
            winner = outcomes.index("stored")
            assert outcomes.count("stored") == 1
            assert set(outcomes) == {"stored", "PreconditionFailed"}
            (version,) = versions(s3, bucket, key)
            assert body(s3, bucket, key, version["VersionId"]) == str(winner).encode()


def test_a_loser_can_read_what_won(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="entry", Body=b"ours", IfNoneMatch="*")
    with refused("PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="entry", Body=b"theirs", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="entry")["Body"].read() == b"ours"


def test_behind_a_delete_marker_a_second_creation_succeeds_and_the_first_version_stays_first(
    s3: Any, bucket: str
) -> None:
    """The fence has this hole, in AWS too: who may delete can make `If-None-Match: *` pass. The versions show it."""
    s3.put_object(Bucket=bucket, Key="entry", Body=b"first", IfNoneMatch="*")
    s3.delete_object(Bucket=bucket, Key="entry")
    s3.put_object(Bucket=bucket, Key="entry", Body=b"second", IfNoneMatch="*")
    assert len(versions(s3, bucket, "entry")) == 2
    assert body(s3, bucket, "entry", first_version(s3, bucket, "entry")) == b"first"


def test_a_body_that_is_not_what_its_checksum_says_is_refused(s3: Any, bucket: str) -> None:
    with refused("BadDigest"):
        s3.put_object(Bucket=bucket, Key="entry", Body=b"changed", ChecksumSHA256=sha256(b"meant"))
    assert versions(s3, bucket) == []


def test_the_checksum_of_a_stored_object_can_be_asked_for_without_its_body(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="entry", Body=b"entry", ChecksumSHA256=sha256(b"entry"))
    stored = s3.head_object(Bucket=bucket, Key="entry", ChecksumMode="ENABLED")
    assert stored["ChecksumSHA256"] == sha256(b"entry")


def test_a_locked_version_cannot_be_removed(s3: Any, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="entry", Body=b"first")["VersionId"]
    for force in ({}, {"BypassGovernanceRetention": True}):
        with refused("AccessDenied"):
            s3.delete_object(Bucket=bucket, Key="entry", VersionId=version, **force)
    batch = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "entry", "VersionId": version}]})
    assert [error["Code"] for error in batch["Errors"]] == ["AccessDenied"]
    assert body(s3, bucket, "entry", version) == b"first"


def test_a_retention_can_be_made_longer_and_never_shorter_or_weaker(s3: Any, bucket: str) -> None:
    version = s3.put_object(Bucket=bucket, Key="entry", Body=b"")["VersionId"]
    where = {"Bucket": bucket, "Key": "entry", "VersionId": version}
    now = datetime.now(UTC).replace(microsecond=0)
    longer = {"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(days=3)}
    s3.put_object_retention(**where, Retention=longer)
    for less in (
        {"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(days=2)},
        {"Mode": "GOVERNANCE", "RetainUntilDate": now + timedelta(days=3)},
        {},
    ):
        with refused("AccessDenied"):
            s3.put_object_retention(**where, Retention=less, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**where)["Retention"] == longer


def test_every_new_version_is_locked_by_the_buckets_default(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="entry", Body=b"")
    retention = s3.get_object_retention(Bucket=bucket, Key="entry")["Retention"]
    assert retention["Mode"] == "COMPLIANCE"
    assert retention["RetainUntilDate"] > datetime.now(UTC) + timedelta(hours=23)


def test_object_lock_allows_versions_and_markers_on_top_and_the_first_stays_readable(s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="entry", Body=b"first", IfNoneMatch="*")["VersionId"]
    s3.put_object(Bucket=bucket, Key="entry", Body=b"on top")
    marker = s3.delete_object(Bucket=bucket, Key="entry")
    assert marker["DeleteMarker"]
    with refused("NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="entry")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert first_version(s3, bucket, "entry") == first
    assert body(s3, bucket, "entry", first) == b"first"
    (listed,) = s3.list_object_versions(Bucket=bucket)["DeleteMarkers"]
    assert (listed["VersionId"], listed["IsLatest"]) == (marker["VersionId"], True)


def test_a_delete_marker_can_be_removed_without_a_trace(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="entry", Body=b"first")
    marker = s3.delete_object(Bucket=bucket, Key="entry")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="entry", VersionId=marker)
    assert "DeleteMarkers" not in s3.list_object_versions(Bucket=bucket)


def test_versions_come_by_key_and_newest_first_also_across_pages(s3: Any, bucket: str) -> None:
    written: dict[str, list[str]] = {"entry-1": [], "entry-10": [], "entry-2": []}
    for _ in range(3):
        for key, stored in written.items():
            stored.insert(0, s3.put_object(Bucket=bucket, Key=key, Body=b"")["VersionId"])
    expected = [(key, version) for key in sorted(written) for version in written[key]]
    for size in (1, 2, 1000):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
        found = [(version["Key"], version["VersionId"]) for page in pages for version in page.get("Versions", [])]
        assert found == expected
    assert [version["VersionId"] for version in versions(s3, bucket) if version["IsLatest"]] == [
        stored[0] for stored in written.values()
    ]


def test_a_bucket_in_another_region_is_found_there(localstack: LocalStack, buckets: Buckets) -> None:
    mirror = buckets.mirror
    s3 = localstack.client("s3", mirror.region)
    assert s3.get_bucket_location(Bucket=mirror.name)["LocationConstraint"] == mirror.region != buckets.home.region
    s3.put_object(Bucket=mirror.name, Key="entry", Body=b"", IfNoneMatch="*")


def test_without_object_lock_a_version_can_be_removed_without_a_trace(s3: Any, unlocked_buckets: Buckets) -> None:
    """The insider's attack that Object Lock is for."""
    bucket: Bucket = unlocked_buckets.home
    version = s3.put_object(Bucket=bucket.name, Key="entry", Body=b"first")["VersionId"]
    s3.delete_object(Bucket=bucket.name, Key="entry", VersionId=version)
    listed = s3.list_object_versions(Bucket=bucket.name)
    assert "Versions" not in listed
    assert "DeleteMarkers" not in listed


def test_a_bucket_that_is_not_there_is_said_to_be_missing(s3: Any) -> None:
    with refused("NoSuchBucket"):
        s3.put_object(Bucket="never-created", Key="entry", Body=b"", IfNoneMatch="*")
