"""A `Store` on S3, or on anything that speaks its protocol.

Every object is put with `If-None-Match: *` and its SHA-256. A create is harmless when repeated, so a try that came to
nothing is followed by another one until the time is over.

What takes long at the start of a process, loading botocore and making a client, is done in the background from the
moment a store is made; the first call waits for the rest of it.
"""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dr.audit.place import Place
from dr.audit.store import FateUnknown, Stored, StoreRefused, StoreUnreachable, Taken

if TYPE_CHECKING:
    from dr.audit.s3_client import Client

T = TypeVar("T")

ANSWER_WITHIN = 5.0
"""Seconds after which a try without an answer is given up; S3 answers within a tenth of one."""
READ_WITHIN = 10.0
"""Seconds in which a read or a page of a listing must have come, tries included: somebody waits for it."""
NO_VERSION = ("", "null")
"""Ids by which a bucket says that it keeps no versions."""


class S3Store:
    """The store at a place. Threads may share it."""

    def __init__(self, place: Place, *, answer_within: float = ANSWER_WITHIN) -> None:
        self.name = place.name
        self._place = place
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        self._opened = _in_background(lambda: _open(place, answer_within))

    def create(self, key: str, data: bytes, *, within: float) -> None:
        given = {
            "Key": self._prefix + key,
            "Body": data,
            "IfNoneMatch": "*",
            "ChecksumSHA256": b64encode(sha256(data).digest()).decode(),
            **self._kept(),
        }
        until = time.monotonic() + within
        try:
            version = self._tried("put_object", within, **given).get("VersionId", "")
        except Taken as taken:
            version = self._own(key, data, taken, until)
        if version in NO_VERSION:
            raise StoreRefused(
                f"{self.name}: the bucket keeps no versions, so a change leaves no trace; turn versioning on"
            )

    def read(self, stored: Stored) -> bytes:
        return self._read(stored, READ_WITHIN)

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        return self._list(prefix, READ_WITHIN, after)

    def folders(self, prefix: str) -> Iterator[str]:
        for page in self._pages(prefix, READ_WITHIN, Delimiter="/"):
            for found in page.get("CommonPrefixes", ()):
                yield str(found["Prefix"]).removeprefix(self._prefix + prefix).rstrip("/")

    def caller(self, *, within: float) -> str:
        asked = _in_background(lambda: self._opened.result().caller())
        try:
            return asked.result(within)
        except (TimeoutError, FateUnknown, StoreUnreachable, StoreRefused):
            return ""

    def _read(self, stored: Stored, within: float) -> bytes:
        if not stored.version:
            raise StoreRefused(f"{self.name}: all versions of {stored.key} were removed; only a delete marker is left")
        key = self._prefix + stored.key
        body: bytes = self._asked("get_object", within, Key=key, VersionId=stored.version)["Body"]
        return body

    def _list(self, prefix: str, within: float, after: str = "") -> Iterator[Stored]:
        mark = {"KeyMarker": self._prefix + after} if after else {}
        pending: Stored | None = None
        for page in self._pages(prefix, within, **mark):
            for row, marker in _rows(page):
                key = row["Key"].removeprefix(self._prefix)
                if pending is not None and pending.key != key:
                    yield pending
                    pending = None
                pending = _under(pending or Stored(key=key, version=""), row, marker=marker)
        if pending is not None:
            yield pending

    def _kept(self) -> dict[str, Any]:
        """How an object is kept: class, encryption, lock."""
        kept: dict[str, Any] = {}
        if self._place.storage_class:
            kept["StorageClass"] = self._place.storage_class
        if self._place.kms_key:
            kept |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._place.kms_key}
        if self._place.object_lock and self._place.retention:
            until = datetime.now(UTC) + timedelta(seconds=self._place.retention)
            kept |= {"ObjectLockMode": self._place.object_lock, "ObjectLockRetainUntilDate": until}
        return kept

    def _own(self, key: str, data: bytes, taken: Taken, until: float) -> str:
        """The version id of an object that was there already, if it is what was to be stored.

        Raises:
            Taken: it is something else.
            FateUnknown: it could not be read.
        """
        try:
            for stored in self._list(key, until - time.monotonic()):
                if stored.key == key and self._read(stored, until - time.monotonic()) == data:
                    return stored.version
        except (StoreUnreachable, StoreRefused) as error:
            raise FateUnknown(f"{taken}, and what is there could not be read: {error}") from None
        raise taken

    def _pages(self, prefix: str, within: float, **given: Any) -> Iterator[dict[str, Any]]:
        """A listing of all versions, newest first below each key, a page at a time."""
        while True:
            page = self._asked("list_object_versions", within, Prefix=self._prefix + prefix, **given)
            if "IsTruncated" not in page:  # a wireless network's login page is no empty listing
                raise StoreUnreachable(f"{self.name}: what answers is not S3; is there a proxy on the way?")
            yield page
            if not page["IsTruncated"]:
                return
            given["KeyMarker"] = page["NextKeyMarker"]
            given.pop("VersionIdMarker", None)
            if page.get("NextVersionIdMarker"):  # none after a page that ends with a folder
                given["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _asked(self, operation: str, within: float, **given: Any) -> dict[str, Any]:
        """The answer to a question, which is harmless to repeat."""
        try:
            return self._tried(operation, within, **given)
        except FateUnknown as error:
            raise StoreUnreachable(str(error)) from None

    def _tried(self, operation: str, within: float, **given: Any) -> dict[str, Any]:
        return self._opened.result().tried(operation, within, Bucket=self._place.bucket, **given)


def _open(place: Place, answer_within: float) -> "Client":
    from dr.audit.s3_client import Client  # heavy: this is what the background is for

    return Client(place, answer_within)


def _in_background(work: Callable[[], T]) -> Future[T]:
    """Begin it in a thread of its own."""
    thread = ThreadPoolExecutor(1, "store")
    future = thread.submit(work)
    thread.shutdown(wait=False)
    return future


def _rows(page: dict[str, Any]) -> list[tuple[dict[str, Any], bool]]:
    """The rows of a page by key, and whether each is a delete marker; S3 gives versions and markers apart."""
    rows = [(row, False) for row in page.get("Versions", ())] + [(row, True) for row in page.get("DeleteMarkers", ())]
    return sorted(rows, key=lambda item: item[0]["Key"])


def _under(above: Stored, row: dict[str, Any], *, marker: bool) -> Stored:
    """The object once another, older version of it is known."""
    if marker:
        return msgspec.structs.replace(above, deleted=above.deleted + 1)
    return Stored(
        key=above.key,
        version=row["VersionId"],
        size=row["Size"],
        md5=row["ETag"].strip('"'),
        later=above.later + bool(above.version),
        deleted=above.deleted,
    )
