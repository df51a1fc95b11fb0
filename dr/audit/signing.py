"""Signing while a run goes on: who signs, and what happens when the key is gone."""

from collections.abc import Callable

import msgspec

from dr.audit.allowed_signers import AllowedSigners
from dr.audit.chain import Checkpoint, signed_bytes
from dr.audit.keys import Key, unusable
from dr.audit.signature import NAMESPACE, BadSignature, armour, parse, to_be_signed, verify
from dr.errors import SigningFailed


class Signing:
    """Signs the checkpoints that one process writes.

    The first signature must succeed: it is given before the first effect. A later one must not stop a recovery, so
    without it the checkpoint is stored unsigned, with the reason, and `warn` is told.
    """

    def __init__(self, identity: str, key: Key, allowed: AllowedSigners, warn: Callable[[str], None]) -> None:
        self.identity = identity
        self.fingerprint = key.public.fingerprint
        self.allowed = allowed
        self._key = key
        self._warn = warn
        self._has_signed = False

    def admit(self, now: float) -> None:
        """Refuse a key whose signatures nobody would accept.

        Args:
            now: seconds since 1970, UTC.

        Raises:
            SigningFailed: `allowed_signers` does not allow it.
        """
        refusal = self.allowed.refusal(self._key.public, self.identity, now)
        if refusal:
            line = f'{self.identity} namespaces="{NAMESPACE}" {self._key.public.line}'
            raise unusable(
                f"signatures of this run would not be accepted: {refusal}", f"to allow it, the line is: {line}"
            )

    def seal(self, mark: Checkpoint) -> Checkpoint:
        """`dr.audit.chain.Seal`: the checkpoint with its signature.

        Raises:
            SigningFailed: it is the first one, and the key refused.
        """
        try:
            signature = _sign(self._key, signed_bytes(mark))
        except SigningFailed as error:
            if not self._has_signed:
                raise
            self._warn(f"NOT SIGNED: the checkpoint at {mark.size} entries: {error.what}")
            return msgspec.structs.replace(mark, unsigned=error.what)
        self._has_signed = True
        return msgspec.structs.replace(mark, signature=signature)


def _sign(key: Key, message: bytes) -> str:
    """The signature, and the certainty that it is one: a wrong one would look like a forgery a year later."""
    text = armour(key.public, key.sign(to_be_signed(message)))
    try:
        verify(parse(text), message)
    except BadSignature as error:
        raise unusable(f"what the key {key.public.fingerprint} has signed does not verify: {error}") from None
    return text
