"""One try at S3: a client of botocore's, and what it says in the words of `dr.audit.store` and of an operator at night.

botocore and not boto3, which is botocore and an upload manager that nobody here uses: 170 ms to the first call
instead of 220. Its own retries are off: a try whose answer was lost must be told apart from one that was never sent.

One try raises Taken, StoreRefused (for good), StoreUnreachable (nothing was stored) or FateUnknown (perhaps it was).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tenacity
from botocore import exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError

from dr.audit.aws_session import assumed, opening, region_name, session
from dr.audit.place import Place
from dr.audit.store import FateUnknown, StoreRefused, StoreUnreachable, Taken

CONNECT_WITHIN = 5.0
AT_ONCE = 32
"""Connections that are kept open, so that many objects can be read side by side."""

_LOGIN = "the credentials have expired; log in to AWS again"
_CLOCK = "this machine's clock is wrong; compare `date -u`, set it"
_KEYS = "AWS does not know these credentials; look at `aws sts get-caller-identity`"
_KEY = "the KMS key cannot be used; look at its state and its policy"
ADVICE = {
    "AccessDenied": (
        "a permission is missing; the journal needs s3:PutObject, s3:GetObject, s3:GetObjectVersion and "
        "s3:ListBucketVersions, with object_lock s3:PutObjectRetention, with kms_key kms:GenerateDataKey, kms:Decrypt"
    ),
    "AuthorizationHeaderMalformed": "the bucket is in another region; mend `region`",
    "ExpiredToken": _LOGIN,
    "ExpiredTokenException": _LOGIN,
    "InvalidAccessKeyId": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "InvalidObjectState": "the object was moved to an archive; restore it first",
    "InvalidToken": _KEYS,
    "KMS.DisabledException": _KEY,
    "KMS.KMSInvalidStateException": _KEY,
    "KMS.NotFoundException": _KEY,
    "NoSuchBucket": "there is no such bucket; look at its name, the region and the account",
    "NoSuchVersion": "the object was removed since it was listed",
    "NoSuchKey": "the object was removed since it was listed",
    "PermanentRedirect": "the bucket is in another region; mend `region`",
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _KEYS,
    "TokenRefreshRequired": _LOGIN,
}
"""What an operator does about a refusal, by AWS's code for it."""

_BUSY = frozenset({
    "429", "503", "BadDigest", "ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "ServiceUnavailable",
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentSHA256Mismatch",
})  # fmt: skip
"""Refused for now, not done. A wrong digest: the request was damaged on its way."""
_DOUBTFUL = frozenset({"500", "502", "504", "InternalError"})
_UNSENT = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)
_CUT = (aws.HTTPClientError, aws.IncompleteReadError, aws.ChecksumError, aws.FlexibleChecksumError, ResponseParserError)
_EXPIRED = (aws.SSOError, aws.LoginError, aws.TokenRetrievalError, aws.CredentialRetrievalError)
_MISSING = (aws.NoCredentialsError, aws.PartialCredentialsError, aws.NoAuthTokenError)


class Client:
    """S3 at a place. Threads may share it."""

    def __init__(self, place: Place, answer_within: float) -> None:
        """Read the configuration and credentials; nothing is sent.

        Args:
            place: where, and as whom.
            answer_within: seconds without a byte of an answer after which a try is given up.

        Raises:
            StoreRefused: the profile is not there, the endpoint is not an address, ...
        """
        self._place = place
        self._answer_within = answer_within
        self._config = Config(
            connect_timeout=min(CONNECT_WITHIN, answer_within),
            read_timeout=answer_within,
            max_pool_connections=AT_ONCE,
            retries={"total_max_attempts": 1},
            user_agent="dr",  # what CloudTrail shows; botocore's own takes it a tenth of a put's time to compose
            # A bucket's name before the host's is AWS's way; a profile may say otherwise.
            s3={"addressing_style": "path"} if place.endpoint else None,
        )
        self._s3 = self._open("s3", self._config)
        self._s3.meta.events.register_last("before-call.s3", _send_at_once)

    def call(self, operation: str, **given: Any) -> dict[str, Any]:
        """One try. A `Body` is read to its end, its checksum verified.

        Raises:
            Taken, StoreRefused, StoreUnreachable, FateUnknown
        """
        place = f"s3://{self._place.bucket}/{given.get('Key', given.get('Prefix', ''))}"
        with _told(place):
            answer: dict[str, Any] = getattr(self._s3, operation)(**given)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
            return answer

    def tried(self, operation: str, within: float, **given: Any) -> dict[str, Any]:
        """The answer after as many tries as it takes, for calls that are harmless to repeat.

        Args:
            operation: its name.
            within: seconds; a try begins only if it could still end in time, but one always does.
            given: its parameters.

        Raises:
            Taken, StoreRefused, StoreUnreachable
            FateUnknown: one of the tries may have been heard, whatever became of those after it.
        """
        lost = False

        def call() -> dict[str, Any]:
            nonlocal lost
            try:
                return self.call(operation, **given)
            except FateUnknown:
                lost = True
                raise

        try:
            return tenacity.Retrying(
                stop=tenacity.stop_before_delay(max(0.0, within - self._answer_within)),
                wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
                retry=tenacity.retry_if_exception_type((FateUnknown, StoreUnreachable)),
                reraise=True,
            )(call)
        except (StoreRefused, StoreUnreachable) as error:
            if lost:
                raise FateUnknown(str(error)) from None
            raise

    def caller(self) -> str:
        """The ARN that the credentials stand for. Raises as `call` does."""
        sts = self._open("sts", self._config)
        with _told(self._place.name):
            return str(sts.get_caller_identity()["Arn"])

    def _open(self, service: str, config: Config) -> Any:
        place = self._place
        with opening, _told(place.name):
            region = region_name(place.region)
            made = session(place.profile)
            if place.role:
                made = assumed(place.profile, place.role, place.region, place.endpoint)
            return made.create_client(service, region_name=region, endpoint_url=place.endpoint, config=config)


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Do not ask before a body is sent, as botocore does: for a line or two that is a second round trip."""
    params["headers"].pop("Expect", None)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Make what botocore raises one of the store's own, in words an operator understands."""
    try:
        yield
    except aws.ClientError as error:
        raise _refusal(place, error) from None
    except (aws.BotoCoreError, ResponseParserError, ValueError) as error:  # ValueError: an endpoint that is no URL
        raise _failure(place, error) from None


def _refusal(place: str, error: aws.ClientError) -> Exception:
    """AWS has answered, and it was not yes."""
    answer = error.response.get("Error", {})
    code = str(answer.get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    said = f"{error.operation_name}: {code} {answer.get('Message', '')}".strip()
    if status == "412":
        return Taken(f"{place} is there already")
    if code in _BUSY or status in _BUSY:
        return StoreUnreachable(f"{place}: S3 is busy or out of order ({said})")
    if code in _DOUBTFUL or status in _DOUBTFUL:
        return FateUnknown(f"{place}: S3 is out of order ({said})")
    advice = ADVICE.get(code, "S3 refuses")
    if error.operation_name == "AssumeRole" and advice not in {_LOGIN, _KEYS, _CLOCK}:
        advice = "the role cannot be assumed"
    return StoreRefused(f"{place}: {advice} ({said})")


def _failure(place: str, error: Exception) -> Exception:
    """There was no answer, or none that can be read, or the call was never made."""
    if isinstance(error, _UNSENT):
        return StoreUnreachable(f"{place}: S3 cannot be reached; is the network up? ({error})")
    if isinstance(error, aws.SSLError):
        return FateUnknown(f"{place}: no secure connection; look at the endpoint and its certificate ({error})")
    if isinstance(error, _CUT):
        return FateUnknown(f"{place}: no answer, or one that was cut off ({error})")
    if isinstance(error, _EXPIRED):
        return StoreRefused(f"{place}: {_LOGIN} ({error})")
    if isinstance(error, _MISSING):
        return StoreRefused(f"{place}: no credentials; log in to AWS, or name a `profile` ({error})")
    return StoreRefused(f"{place}: {error}")
