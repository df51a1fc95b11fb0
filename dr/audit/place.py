"""Where a store is on S3, and how its objects are kept: what `[journal]` in dr.toml says, without a word to AWS."""

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from dr.core.duration import Duration

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?")
"""What all tools, proxies and listings carry unharmed; other letters have got lost between pages of a listing."""


class StoreSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a store is reached, and how objects are kept in it."""

    region: str | None = None
    """None: what the profile or the environment says."""
    endpoint: str | None = None
    """Something else than AWS that speaks its protocol, such as LocalStack, `If-None-Match` on a put included."""
    profile: str | None = None
    role: str | None = None
    """ARN of a role that is assumed."""
    storage_class: Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] | None = None
    """One whose objects can be read at once: a resume does."""
    kms_key: str | None = None
    """Objects are encrypted with this KMS key (SSE-KMS)."""
    object_lock: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    """How objects are locked; None leaves it to the bucket's default."""
    retention: Duration | None = None
    """For how long an object is locked."""


class Place(StoreSpec, frozen=True, kw_only=True):
    """Where the store is, and how its objects are kept.

    Raises:
        ValueError: for what S3 would refuse later, in the middle of a run.
    """

    bucket: str
    prefix: str = ""

    def __post_init__(self) -> None:
        if not BUCKET.fullmatch(self.bucket):
            raise ValueError(f"{self.bucket!r} is not the name of a bucket")
        if not PREFIX.fullmatch(self.prefix) or ".." in self.prefix:
            raise ValueError(f"the prefix {self.prefix!r} has other characters than A-Z a-z 0-9 - _ . and single /")
        if (self.object_lock is None) == bool(self.retention):
            raise ValueError("object_lock and retention go together: how objects are locked, and for how long")

    @property
    def name(self) -> str:
        """For messages: `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """The parts of `s3://bucket/prefix`.

    Raises:
        ValueError: it is something else.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not of the form s3://bucket/prefix")
    return parts.netloc, parts.path.strip("/")
