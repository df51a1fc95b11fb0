"""A bucket of the running LocalStack, with the same hands as `tests.memory_store.Bucket`: stores to use, attacks to
make."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dr.audit import aws_session
from dr.audit.place import Place
from dr.audit.s3 import ANSWER_WITHIN, S3Store
from localstack.instance import CREDENTIALS, LocalStack
from tests import localstack_fixture

PREFIX = "teams/payments"


class S3Bucket:
    """What all stores of a test see."""

    def __init__(self, localstack: LocalStack, bucket: localstack_fixture.Bucket) -> None:
        self._localstack = localstack
        self.bucket = bucket
        self.s3: Any = localstack.client("s3", bucket.region)

    def place(self, **other: Any) -> Place:
        here = {"bucket": self.bucket.name, "prefix": PREFIX, "region": self.bucket.region}
        return Place(**{**here, "endpoint": self._localstack.endpoint, **other})

    def store(self, *, answer_within: float = ANSWER_WITHIN, **other: Any) -> S3Store:
        """One more machine's way to this bucket; `other` as in `Place`."""
        return S3Store(self.place(**other), answer_within=answer_within)

    def put(self, key: str, data: bytes) -> None:
        """A plain put: a first version, or a later one on top."""
        self.s3.put_object(Bucket=self.bucket.name, Key=f"{PREFIX}/{key}", Body=data)

    def mark_deleted(self, key: str) -> None:
        """A plain delete: a delete marker on top."""
        self.s3.delete_object(Bucket=self.bucket.name, Key=f"{PREFIX}/{key}")

    def remove(self, key: str) -> None:
        """All versions of a key gone; its delete markers stay."""
        for version in self.s3.list_object_versions(Bucket=self.bucket.name, Prefix=f"{PREFIX}/{key}")["Versions"]:
            self.s3.delete_object(Bucket=self.bucket.name, Key=version["Key"], VersionId=version["VersionId"])

    def head(self, key: str) -> dict[str, Any]:
        head: dict[str, Any] = self.s3.head_object(
            Bucket=self.bucket.name, Key=f"{PREFIX}/{key}", ChecksumMode="ENABLED"
        )
        return head


@contextmanager
def credentials(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[None]:
    """An environment with these credentials and nothing else of this machine's."""
    with monkeypatch.context() as patch:
        forget_sessions()
        for name in (
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_SESSION_TOKEN",
            *CREDENTIALS,
        ):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
    forget_sessions()


def forget_sessions() -> None:
    """Sessions keep the credentials that they have read, for as long as a process lives."""
    aws_session.session.cache_clear()
    aws_session.assumed.cache_clear()
