"""The keys that sign checkpoints: in the operator's SSH agent, in a file, or in AWS KMS for unattended drills."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dr.audit.signature import PublicKey
from dr.errors import SigningFailed

HOW_TO_WRITE = "write agent:SHA256:FINGERPRINT (see `ssh-add -l`), file:PATH or kms:KEY-ID"
_REFERENCE = re.compile(r"agent:SHA256:[A-Za-z0-9+/]{43}|file:.*\S.*|kms:[A-Za-z0-9:/_-]+")
_IDENTITY = re.compile(r"[^\s,*?!\"\\#\x00-\x1f\x7f]{1,200}")


class Key(Protocol):
    """A key that can sign."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, data: bytes) -> bytes:
        """The signature over `data` in SSH's wire format: the algorithm's name and the value.

        Raises:
            SigningFailed: the key is out of reach, or whoever holds it refuses.
        """
        ...


def check_key(text: str) -> None:
    """Refuse what is no reference to a key. Raises ValueError."""
    if not _REFERENCE.fullmatch(text):
        raise ValueError(f"{text!r} says of no key where it is; {HOW_TO_WRITE}")


def check_identity(text: str) -> None:
    """Refuse what cannot stand as a principal in `allowed_signers`. Raises ValueError."""
    if not _IDENTITY.fullmatch(text):
        raise ValueError(f"{text!r} is no identity; write one as in allowed_signers, such as alice@example.org")


def open_key(reference: str, folder: Path, passphrase: Callable[[], str]) -> Key:
    """The key that `reference` points at.

    Args:
        reference: as `check_key` lets it pass.
        folder: where a relative `file:PATH` starts from.
        passphrase: looks up the passphrase of a key file; called only for a file that has one.

    Raises:
        SigningFailed: it is not there or cannot be used.
        SecretMissing: its passphrase cannot be looked up.
    """
    where, _, name = reference.partition(":")
    match where:
        case "agent":
            from dr.audit.ssh_agent import find_key  # the three need different libraries; each pays for its own

            return find_key(name)
        case "file":
            from dr.audit.key_file import read_key

            place = os.path.expanduser(name)  # noqa: PTH111 - Path's own raises where there is no such user
            return read_key(folder / place, passphrase)
        case _:
            from dr.audit.kms import find_key as find_kms_key

            return find_kms_key(name)


def unusable(what: str, hint: str = "") -> SigningFailed:
    """The error of a key that cannot sign."""
    return SigningFailed(what, stands="nothing was touched", hint=hint)
