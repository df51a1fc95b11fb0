"""References to secrets. A secret is never written where it is used, only where it can be found (safety rule 13)."""

import re
from typing import Annotated

import msgspec

_REFERENCE = re.compile(r"(env|file|aws-secret|ssm):\S.*")
HOW_TO_WRITE = "write where the secret stands, env:NAME, file:PATH, aws-secret:ID or ssm:NAME, never the secret itself"

SecretRef = Annotated[
    str,
    msgspec.Meta(
        description=HOW_TO_WRITE,
        extra={"secret": True},
        # Only for editors: msgspec's own message for a pattern would not say how to write a reference.
        extra_json_schema={"pattern": f"^{_REFERENCE.pattern}$"},
    ),
]
"""Where a secret stands. Whoever holds a reference in a type checks it with `check_reference`."""


def is_reference(text: str) -> bool:
    """Whether `text` says where a secret stands."""
    return _REFERENCE.fullmatch(text) is not None


def check_reference(field: str, text: str | None) -> None:
    """Refuse a literal. The message names the field and never the text, which may be the secret. None is no secret.

    Raises:
        ValueError: `text` is not a reference.
    """
    if text is not None and not is_reference(text):
        raise ValueError(f"{field}: {HOW_TO_WRITE}")
