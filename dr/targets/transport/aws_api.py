"""Calls to AWS within a deadline; its errors in the words of `dr.targets.protocols`. Loads boto3."""

import copy
import re
import time
from functools import partial
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from dr import __version__
from dr.targets.protocols import Opening, TargetUnreachable
from dr.targets.transport.aws_access import AwsAccess
from dr.targets.transport.deadline import within

CONNECT: Final = 5.0
"""Seconds; a region that is gone must not take the whole attempt."""
TRIES: Final = 3
MOST_TEXT: Final = 300
"""Characters of an error (safety rule 15)."""
LONGEST_SESSION_NAME: Final = 64
NOT_ANSWERED: Final = re.compile(
    r"Throttl|RequestLimitExceeded|TooManyRequests|PriorRequestNotComplete"  # later
    r"|AccessDenied|AuthFailure|UnauthorizedOperation|UnrecognizedClient|InvalidClientTokenId|ExpiredToken|Signature"
    r"|InternalFailure|InternalError|ServiceUnavailable"
)
"""Codes that say nothing about the thing that was asked for."""
FORBIDDEN: Final = {401, 403}
SERVER_ERROR: Final = 500


class Refused(LookupError):
    """AWS was asked and says no."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Api:
    """An account of AWS, asked by one step. Clients are made at their first call."""

    def __init__(self, access: AwsAccess, opening: Opening) -> None:
        self.secret = opening.secret
        self.mask = opening.mask
        self.label = opening.label
        self._access = access
        self._opening = opening
        self._deadline = time.monotonic() + opening.timeout
        self._session: Any = None
        self._clients: dict[tuple[str, int], Any] = {}

    def in_region(self, region: str) -> "Api":
        """The same account in another region, with the same deadline."""
        other = copy.copy(self)
        other._access = msgspec.structs.replace(self._access, region=region)  # noqa: SLF001 - another of this class
        other._session, other._clients = None, {}  # noqa: SLF001 - the same
        return other

    def remaining(self) -> float:
        """Seconds until every call must have returned; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """What AWS answers to a call that does no harm when it is repeated; it is, after a lost or throttled one.

        Raises:
            Refused: AWS says no; a LookupError with its code.
            TargetUnreachable: AWS could not be asked, or not as these credentials.
        """
        return self._call(service, operation, parameters, TRIES)

    def once(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """The same for a call that must not be repeated: a message sent, a function invoked."""
        return self._call(service, operation, parameters, 1)

    def body(self, stream: Any, most: int) -> bytes:
        """What a streamed part of an answer holds.

        Raises:
            LookupError: it is longer than `most` bytes (safety rule 15).
            TargetUnreachable: it did not come in time.
        """
        name = self._opening.name
        try:
            content: bytes = within(self.remaining(), partial(stream.read, most + 1), discard=lambda _: None)
        except (TimeoutError, BotoCoreError) as error:
            raise TargetUnreachable(f"{name}: the answer broke off: {str(error)[:MOST_TEXT]}") from None
        if len(content) > most:
            raise LookupError(f"{name}: the answer is longer than {most:,} bytes")
        return content

    def _call(self, service: str, operation: str, parameters: dict[str, Any], tries: int) -> dict[str, Any]:
        name, what = self._opening.name, f"{service} {operation}"
        try:
            # The deadline holds for what botocore sets no limit to, too: credentials, a proxy, an answer that drips.
            call = partial(self._send, service, operation, parameters, tries)
            answer: dict[str, Any] = within(self.remaining(), call, discard=lambda _: None)
        except TimeoutError:
            raise TargetUnreachable(f"{name}: {what}: no answer in time") from None
        except ParamValidationError as error:
            raise Refused("ParamValidation", f"{name}: {what}: {str(error)[:MOST_TEXT]}") from None
        except BotoCoreError as error:
            raise TargetUnreachable(f"{name}: {what}: {str(error)[:MOST_TEXT]}") from None
        except ClientError as error:
            raise self._refusal(what, error) from None
        return answer

    def _refusal(self, what: str, error: ClientError) -> Exception:
        details = error.response.get("Error", {})
        code = str(details.get("Code", ""))
        text = f"{self._opening.name}: {what}: {code}: {details.get('Message', '')}"[:MOST_TEXT]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= SERVER_ERROR or status in FORBIDDEN or NOT_ANSWERED.search(code):
            return TargetUnreachable(text)
        return Refused(code, text)

    def _send(self, service: str, operation: str, parameters: dict[str, Any], tries: int) -> dict[str, Any]:
        key = (service, tries)
        if key not in self._clients:
            self._session = self._session or self._open_session()
            self._clients[key] = self._client(self._session, service, tries)
        answer: dict[str, Any] = getattr(self._clients[key], operation)(**parameters)
        return answer

    def _open_session(self) -> Any:
        region, role = self._access.region, self._access.role
        session = boto3.Session(profile_name=self._access.profile, region_name=region)
        if role is None:
            return session
        name = re.sub(r"[^\w+=,.@-]", "-", self._opening.label)[:LONGEST_SESSION_NAME]
        sts = self._client(session, "sts", TRIES)
        assumed = sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
        self._opening.mask(assumed["SecretAccessKey"])
        self._opening.mask(assumed["SessionToken"])
        return boto3.Session(
            assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"], region_name=region
        )

    def _client(self, session: Any, service: str, tries: int) -> Any:
        limits = Config(
            connect_timeout=CONNECT,
            read_timeout=max(1.0, self._opening.timeout),
            retries={"mode": "standard", "total_max_attempts": tries},
            user_agent_extra=f"dr/{__version__} ({self._opening.label})",
        )
        return session.client(service, endpoint_url=self._access.endpoint, config=limits)
