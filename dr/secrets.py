"""Secrets: found where their references point, at the moment of use, and masked in everything that is written down."""

import os
import threading
from pathlib import Path

from dr.errors import SecretMissing

MASK = "***"
SHORTEST = 4
"""Characters below which a secret is only masked where it stands alone: `a` is in every sentence."""
LARGEST = 64 * 1024
"""Characters of a secret file."""


class Secrets:
    """Resolves references, remembers what it found, and masks it. Used from several threads."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()

    def resolve(self, reference: str) -> str:
        """The secret that `env:NAME`, `file:PATH`, `aws-secret:ID`, `aws-secret:ID#KEY` or `ssm:NAME` points at.

        What AWS keeps is asked for once: each look opens its targets anew, and AWS may be gone when they are.

        Raises:
            SecretMissing: it is not there or empty.
        """
        scheme, _, name = reference.partition(":")
        match scheme:
            case "file":
                value = self._from_file(reference, name)
            case "aws-secret" | "ssm":
                value = self._kept.get(reference) or self._from_aws(reference, scheme, name)
                self._kept[reference] = value
            case _:
                value = os.environ.get(name, "")
        if not value:
            raise _missing(
                reference,
                "it is not set" if scheme == "env" else "the file is empty" if scheme == "file" else "it is empty",
            )
        self.remember(value)
        return value

    def remember(self, value: str) -> None:
        """Mask `value` from now on, also as Python quotes it in an error."""
        with self._lock:
            self._values |= {value, repr(value)[1:-1]}

    def mask(self, text: str) -> str:
        """`text` without any secret value."""
        if not self._values:
            return text
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            text = text.replace(value, MASK) if len(value) >= SHORTEST else (MASK if text == value else text)
        return text

    def _from_file(self, reference: str, name: str) -> str:
        place = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises where there is no such user
        try:
            with place.open(encoding="utf-8") as file:
                content = file.read(LARGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
            raise _missing(reference, why.lower()) from None
        if len(content) > LARGEST:
            raise _missing(reference, f"the file is larger than {LARGEST:,} characters")
        return content.strip("\r\n")

    def _from_aws(self, reference: str, scheme: str, name: str) -> str:
        from dr import aws_secrets

        try:
            return (
                aws_secrets.from_secrets_manager(name) if scheme == "aws-secret" else aws_secrets.from_parameter(name)
            )
        except aws_secrets.NotFound as error:
            raise _missing(reference, str(error)) from None


def _missing(reference: str, why: str) -> SecretMissing:
    return SecretMissing(
        f"the secret {reference} cannot be resolved: {why}",
        stands="nothing was touched",
        hint="set it where the reference in dr.toml points, then try again",
    )
