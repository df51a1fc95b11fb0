"""Who starts a run or goes on with it, and who signs for that."""

import time
from collections.abc import Callable

import msgspec

from dr.audit.chain import Seal, unsealed
from dr.audit.keys import open_key, unusable
from dr.audit.signing import Signing
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.environment import Config
from dr.secrets import Secrets


class Author(msgspec.Struct, frozen=True):
    """Who acts; what is recorded carries the name."""

    name: str
    signing: Signing | None = None
    unsigned: str = ""
    """Why nothing is signed although `dr.toml` says that it should be."""

    @property
    def signer(self) -> str:
        """Fingerprint of the key that signs; empty: none does."""
        return self.signing.fingerprint if self.signing else ""

    @property
    def seal(self) -> Seal:
        return self.signing.seal if self.signing else unsealed

    def admit(self, stored: StoredRun, first: e.Entry) -> None:
        """Refuse to go on with a run where that would leave its proof weaker, unless that was asked for.

        Who signs goes on only from what was signed by those who may.

        Args:
            stored: the run.
            first: its first entry.

        Raises:
            JournalBroken: a signature is not good.
            SigningFailed: the run is signed, and here nobody signs.
        """
        assert isinstance(first.event, e.RunStarted)
        if self.signing is not None:
            stored.judge(self.signing.allowed)
        elif first.event.signer and not self.unsigned:
            raise unusable(
                f"the run {stored.run} is signed by {first.actor} ({first.event.signer}), and here nobody signs",
                f"say who signs under [signing] in dr.toml, or: dr resume {stored.run} --unsigned REASON",
            )


def open_signing(config: Config, secrets: Secrets, warn: Callable[[str], None]) -> Signing | None:
    """Who signs, as `dr.toml` says: the key found, and seen to be accepted. None: it does not say.

    Args:
        config: the file.
        secrets: finds the passphrase of a key file.
        warn: hears of a later checkpoint that could not be signed.

    Raises:
        SigningFailed, SecretMissing: the key cannot be used, or `allowed_signers` does not allow it.
        RunbookWrong: `allowed_signers` cannot be read.
    """
    spec, allowed = config.signing, config.signers()
    if spec is None or allowed is None:
        return None

    def passphrase() -> str:
        if not spec.passphrase:
            raise unusable("the signing key has a passphrase", 'passphrase = "env:NAME" under [signing] in dr.toml')
        return secrets.resolve(spec.passphrase)

    signing = Signing(spec.identity, open_key(spec.key, config.folder, passphrase), allowed, warn)
    signing.admit(time.time())
    return signing
