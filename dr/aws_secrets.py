"""Secrets that AWS keeps: in Secrets Manager (`aws-secret:`) and in Systems Manager (`ssm:`). Loads boto3.

Credentials and region are those of this machine's own AWS settings; an ARN brings its own region.
"""

import json
import re
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

LIMITS: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
_ARN: Final = re.compile(r"arn:[^:]*:(?:secretsmanager|ssm):([a-z0-9-]+):")
MOST_TEXT: Final = 300


class NotFound(Exception):
    """Why there is no secret; holds none itself."""


def from_secrets_manager(name: str) -> str:
    """The secret `ID`, or one key of a secret that is a JSON object: `ID#KEY`. Raises NotFound."""
    secret, _, key = name.partition("#")
    text = _ask("secretsmanager", "get_secret_value", secret, SecretId=secret).get("SecretString")
    if text is None:
        raise NotFound("it is binary")
    if not key:
        return str(text)
    try:
        value = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):  # the error itself may quote the secret
        raise NotFound(f"it is no JSON object with the key {key!r}") from None
    if not isinstance(value, str | int):
        raise NotFound(f"the value of its key {key!r} is no text")
    return str(value)


def from_parameter(name: str) -> str:
    """The parameter of that name or ARN, deciphered. Raises NotFound."""
    return str(_ask("ssm", "get_parameter", name, Name=name, WithDecryption=True)["Parameter"]["Value"])


def _ask(service: str, operation: str, name: str, **parameters: Any) -> dict[str, Any]:
    arn = _ARN.match(name)
    try:
        # A session for each: the default one must not make clients in several threads.
        client = boto3.Session().client(service, region_name=arn[1] if arn else None, config=LIMITS)
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
    except (BotoCoreError, ClientError) as error:
        raise NotFound(str(error)[:MOST_TEXT]) from None
    return answer
