"""A `Store` on S3 (boto3), or on anything that speaks its protocol.

Every object is put with `If-None-Match: *` and its SHA-256. boto3's own retries are off: a try whose answer was lost must be
told apart from one that was never sent. A create is harmless when repeated, so this module tries again itself until its time
is over.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

import boto3
import msgspec
import tenacity
from botocore import exceptions as aws
from botocore.config import Config

from dr.audit.store import FateUnknown, Stored, StoreRefused, StoreUnreachable, Taken

T = TypeVar("T")

CONNECT_WITHIN = 5.0
ANSWER_WITHIN = 20.0
READ_WITHIN = 30.0
"""Seconds in which a read or a page of a listing must have come, tries included."""
AT_ONCE = 32
"""Connections that are kept open, so that many objects can be read side by side."""

_BUSY = frozenset({
    "500", "502", "503", "504", "ConditionalRequestConflict", "InternalError", "OperationAborted", "RequestTimeout",
    "ServiceUnavailable", "SlowDown", "Throttling",
})  # fmt: skip
_UNSENT = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)
_NEVER = (aws.NoCredentialsError, aws.PartialCredentialsError, aws.ProfileNotFound, aws.ParamValidationError)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is, and how its objects are kept."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    role: str | None = None
    """ARN of a role that is assumed."""
    storage_class: str | None = None
    kms_key: str | None = None
    """Objects are encrypted with this KMS key (SSE-KMS)."""
    lock: str | None = None
    """GOVERNANCE or COMPLIANCE; None leaves it to the bucket's default."""
    retention: float = 0.0
    """Seconds for which an object is locked."""


class _Again(Exception):
    """This try came to nothing, as far as can be told; another one may be made."""

    def __init__(self, why: str, *, perhaps_done: bool) -> None:
        super().__init__(why)
        self.perhaps_done = perhaps_done


class S3Store:
    """The store at a place. Threads may share it, as boto3's clients may be shared."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._prefix = f"{place.prefix.strip('/')}/" if place.prefix.strip("/") else ""
        self.name = f"s3://{place.bucket}/{self._prefix}".rstrip("/")
        self._client = _client(place)

    def create(self, key: str, data: bytes, *, within: float) -> None:
        given = {
            "Bucket": self._place.bucket,
            "Key": self._prefix + key,
            "Body": data,
            "IfNoneMatch": "*",
            "ChecksumSHA256": b64encode(sha256(data).digest()).decode(),
            **self._kept(),
        }
        perhaps_done = False

        def put() -> None:
            nonlocal perhaps_done
            try:
                self._call(lambda: self._client.put_object(**given))
            except _Again as again:
                perhaps_done = perhaps_done or again.perhaps_done
                raise

        try:
            _tries(within)(put)
        except _Again as again:
            raise (FateUnknown if perhaps_done else StoreUnreachable)(str(again)) from None
        except Taken:
            if self._first(key) != data:
                raise

    def read(self, stored: Stored) -> bytes:
        given = {"Bucket": self._place.bucket, "Key": self._prefix + stored.key, "ChecksumMode": "ENABLED"}
        if stored.version:
            given["VersionId"] = stored.version

        def get() -> bytes:
            body: bytes = self._call(lambda: self._client.get_object(**given)["Body"].read())
            return body

        return self._asked(get)

    def list(self, prefix: str) -> Iterator[Stored]:
        given: dict[str, Any] = {"Bucket": self._place.bucket, "Prefix": self._prefix + prefix}
        pending: Stored | None = None
        while True:
            page = self._asked(lambda: self._call(lambda: self._client.list_object_versions(**given)))
            for key, version, marker in _newest_first(page):
                name = key.removeprefix(self._prefix)
                if pending is not None and pending.key != name:
                    yield pending
                    pending = None
                pending = _on_top_of(pending, name, version, marker=marker)
            if not page.get("IsTruncated"):
                break
            given["KeyMarker"] = page["NextKeyMarker"]
            given["VersionIdMarker"] = page.get("NextVersionIdMarker") or ""
        if pending is not None:
            yield pending

    def folders(self, prefix: str) -> Iterator[str]:
        given: dict[str, Any] = {"Bucket": self._place.bucket, "Prefix": self._prefix + prefix, "Delimiter": "/"}
        while True:
            page = self._asked(lambda: self._call(lambda: self._client.list_object_versions(**given)))
            for found in page.get("CommonPrefixes", ()):
                yield str(found["Prefix"]).removeprefix(self._prefix + prefix).rstrip("/")
            if not page.get("IsTruncated"):
                return
            given["KeyMarker"] = page["NextKeyMarker"]
            given["VersionIdMarker"] = page.get("NextVersionIdMarker") or ""

    def _kept(self) -> dict[str, Any]:
        """How an object is kept: class, encryption, lock."""
        kept: dict[str, Any] = {}
        if self._place.storage_class:
            kept["StorageClass"] = self._place.storage_class
        if self._place.kms_key:
            kept |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._place.kms_key}
        if self._place.lock:
            until = datetime.now(UTC) + timedelta(seconds=self._place.retention)
            kept |= {"ObjectLockMode": self._place.lock, "ObjectLockRetainUntilDate": until}
        return kept

    def _first(self, key: str) -> bytes:
        """The bytes of the first version of a key that is there."""
        return next((self.read(stored) for stored in self.list(key) if stored.key == key), b"")

    def _asked(self, ask: Callable[[], T]) -> T:
        """A question, which is harmless to repeat."""
        try:
            return _tries(READ_WITHIN)(ask)
        except _Again as again:
            raise StoreUnreachable(str(again)) from None
        except Taken as taken:
            raise StoreRefused(str(taken)) from None

    def _call(self, call: Callable[[], T]) -> T:
        """One try. Every way in which AWS says no becomes one of the store's own."""
        try:
            return call()
        except aws.ClientError as error:
            answer = error.response.get("Error", {})
            code, status = (
                str(answer.get("Code", "")),
                str(error.response["ResponseMetadata"].get("HTTPStatusCode", "")),
            )
            said = f"{self.name}: {code or status}: {answer.get('Message', '')}".rstrip(": ")
            if status == "412":
                raise Taken(said) from None
            if code in _BUSY or status in _BUSY:
                raise _Again(said, perhaps_done=status == "500") from None
            raise StoreRefused(said) from None
        except _UNSENT as error:
            raise _Again(f"{self.name}: {error}", perhaps_done=False) from None
        except _NEVER as error:
            raise StoreRefused(f"{self.name}: {error}") from None
        except aws.BotoCoreError as error:  # the answer was lost: timed out, reset, cut off, not readable
            raise _Again(f"{self.name}: {error}", perhaps_done=True) from None


def _tries(seconds: float) -> tenacity.Retrying:
    return tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
        retry=tenacity.retry_if_exception_type(_Again),
        reraise=True,
    )


def _newest_first(page: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(key, version, is a delete marker) of a page, by key; the versions of a key newest first, as S3 lists them."""
    rows = [(row, False) for row in page.get("Versions", ())] + [(row, True) for row in page.get("DeleteMarkers", ())]
    rows.sort(key=lambda item: item[0]["Key"])
    return [(row["Key"], row["VersionId"], marker) for row, marker in rows]


def _on_top_of(above: Stored | None, key: str, version: str, *, marker: bool) -> Stored:
    """The object once another, older version of it is known. Those that came before in the list lie on top of it."""
    if above is None:
        return Stored(key=key, version="" if marker else version, deleted=int(marker))
    later = above.later + (1 if above.version and not marker else 0)
    return Stored(
        key=key,
        version=above.version if marker else version,
        later=later,
        deleted=above.deleted + int(marker),
    )


def _client(place: Place) -> Any:
    """The S3 client of a place. Any: boto3's clients are made at run time."""
    session = boto3.session.Session(profile_name=place.profile, region_name=place.region or _REGION)
    config = Config(
        connect_timeout=CONNECT_WITHIN,
        read_timeout=ANSWER_WITHIN,
        max_pool_connections=AT_ONCE,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path" if place.endpoint else "auto"},
        request_checksum_calculation="when_required",
    )
    credentials = {}
    if place.role:
        sts = session.client("sts", endpoint_url=place.endpoint)
        assumed = sts.assume_role(RoleArn=place.role, RoleSessionName="dr-journal")["Credentials"]
        credentials = {
            "aws_access_key_id": assumed["AccessKeyId"],
            "aws_secret_access_key": assumed["SecretAccessKey"],
            "aws_session_token": assumed["SessionToken"],
        }
    return session.client("s3", endpoint_url=place.endpoint, config=config, **credentials)


_REGION = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
