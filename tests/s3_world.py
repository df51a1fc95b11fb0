"""A bucket of the running LocalStack, with the same hands as `tests.memory_store.Bucket`: stores to use, attacks to
make."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from dr.audit import aws_session
from dr.audit.place import Place
from dr.audit.s3 import ANSWER_WITHIN, S3Store
from localstack.instance import CREDENTIALS, LocalStack
from tests import localstack_fixture

PREFIX = "teams/payments"
WRITERS = 2
"""Connections over which many objects are put: LocalStack is never idle then."""


class S3Bucket:
    """What all stores of a test see."""

    def __init__(self, localstack: LocalStack, bucket: localstack_fixture.Bucket, prefix: str = PREFIX) -> None:
        self._localstack = localstack
        self.bucket = bucket
        self.prefix = prefix
        self.s3: Any = localstack.client("s3", bucket.region)

    def place(self, **other: Any) -> Place:
        here = {"bucket": self.bucket.name, "prefix": self.prefix, "region": self.bucket.region}
        return Place(**{**here, "endpoint": self._localstack.endpoint, **other})

    def store(self, *, answer_within: float = ANSWER_WITHIN, **other: Any) -> S3Store:
        """One more machine's way to this bucket; `other` as in `Place`."""
        return S3Store(self.place(**other), answer_within=answer_within)

    def put(self, key: str, data: bytes) -> None:
        """A plain put: a first version, or a later one on top."""
        self.s3.put_object(Bucket=self.bucket.name, Key=f"{self.prefix}/{key}", Body=data)

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """Many plain puts. In plain HTTP: for thousands, boto3 takes nearly as long to ask as LocalStack to answer."""

        def put(items: Sequence[tuple[str, bytes]]) -> None:
            with closing(HTTPConnection(urlsplit(self._localstack.endpoint).netloc)) as connection:
                for key, data in items:
                    connection.request("PUT", f"/{self.bucket.name}/{self.prefix}/{key}", data)
                    with connection.getresponse() as answer:
                        assert answer.status == HTTPStatus.OK, answer.read()
                        answer.read()

        every = list(contents.items())
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(put, [every[first::WRITERS] for first in range(WRITERS)]))

    def mark_deleted(self, key: str) -> None:
        """A plain delete: a delete marker on top."""
        self.s3.delete_object(Bucket=self.bucket.name, Key=f"{self.prefix}/{key}")

    def remove(self, *keys: str) -> None:
        """All versions and markers of these keys gone, and all below one that ends in `/`."""
        gone = [
            {"Key": row["Key"], "VersionId": row["VersionId"]}
            for key in keys
            for row in self._rows(key)
            if key.endswith("/") or row["Key"] == f"{self.prefix}/{key}"
        ]
        if gone:
            self.s3.delete_objects(Bucket=self.bucket.name, Delete={"Objects": gone, "Quiet": True})

    def replace(self, key: str, data: bytes) -> None:
        """Other bytes as the only version."""
        self.remove(key)
        self.put(key, data)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted({row["Key"].removeprefix(f"{self.prefix}/") for row in self._rows(prefix)})

    def first(self, key: str) -> bytes:
        """The bytes of the first version."""
        oldest = [row for row in self._rows(key) if row["Key"] == f"{self.prefix}/{key}"][-1]
        body = self.s3.get_object(Bucket=self.bucket.name, Key=oldest["Key"], VersionId=oldest["VersionId"])["Body"]
        data: bytes = body.read()
        return data

    def _rows(self, prefix: str) -> list[dict[str, Any]]:
        """Versions and markers, as many as fit into a page; those of a key from the newest to the oldest."""
        page = self.s3.list_object_versions(Bucket=self.bucket.name, Prefix=f"{self.prefix}/{prefix}")
        assert not page["IsTruncated"]
        return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]

    def head(self, key: str) -> dict[str, Any]:
        head: dict[str, Any] = self.s3.head_object(
            Bucket=self.bucket.name, Key=f"{self.prefix}/{key}", ChecksumMode="ENABLED"
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
