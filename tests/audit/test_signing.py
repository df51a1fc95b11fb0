"""Signing while a run goes on: strict at the start, never in the way later."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.audit.allowed_signers import parse as parse_signers
from dr.audit.book import LocalBook
from dr.audit.chain import Checkpoint, encode_checkpoint, signed_bytes
from dr.audit.journal import CHECKPOINTS
from dr.audit.keys import unusable
from dr.audit.signature import PublicKey, parse, verify
from dr.audit.signing import Signing
from dr.core.plan import encode_plan
from dr.errors import SigningFailed
from tests.audit.written import ME, NINE, RUN, drafts
from tests.keyring import Keyring, identity

MARK = Checkpoint(run=RUN, size=30, head="ab" * 32, at="2023-05-15T14:00:00.000000Z", actor="alice@example.org")


class Fading:
    """A key that works so many times."""

    def __init__(self, keyring: Keyring, times: int) -> None:
        self._key = keyring.key("alice")
        self._left = times
        self.public: PublicKey = self._key.public

    def sign(self, data: bytes) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise unusable("the agent is gone")
        return self._key.sign(data)


def signing(keyring: Keyring, times: int, warn: Callable[[str], None] = print) -> Signing:
    return Signing(identity("alice"), Fading(keyring, times), keyring.signers(), warn)


def test_a_sealed_checkpoint_carries_a_signature_over_its_line(keyring: Keyring) -> None:
    sealed = signing(keyring, 1).seal(MARK)
    verify(parse(sealed.signature), encode_checkpoint(MARK))
    assert signed_bytes(sealed) == encode_checkpoint(MARK)


def test_a_key_that_refuses_at_first_stops_everything(keyring: Keyring) -> None:
    with pytest.raises(SigningFailed, match="the agent is gone"):
        signing(keyring, 0).seal(MARK)


def test_a_key_that_refuses_later_stops_nothing_and_that_is_said(keyring: Keyring) -> None:
    warned: list[str] = []
    fading = signing(keyring, 1, warned.append)
    assert fading.seal(MARK).signature
    unsigned = fading.seal(MARK)
    assert (unsigned.signature, unsigned.unsigned) == ("", "the agent is gone")
    assert warned == ["NOT SIGNED: the checkpoint at 30 entries: the agent is gone"]


def test_what_does_not_verify_is_not_taken_from_a_key(keyring: Keyring) -> None:
    """A wrong signature would be found a year later, and look like a forgery."""

    class Broken(Fading):
        def sign(self, data: bytes) -> bytes:
            return super().sign(data + b"!")

    with pytest.raises(SigningFailed, match="has signed does not verify: it was made over other bytes"):
        Signing(identity("alice"), Broken(keyring, 1), keyring.signers(), print).seal(MARK)


def test_a_key_that_nobody_would_accept_is_refused_with_the_line_that_allows_it(keyring: Keyring) -> None:
    stranger = Signing(identity("mallory"), keyring.key("mallory"), keyring.signers(), print)
    with pytest.raises(
        SigningFailed, match=r"would not be accepted: the key SHA256:.* is not in allowed_signers"
    ) as no:
        stranger.admit(time.time())
    line = no.value.hint.partition("the line is: ")[2]
    Signing(identity("mallory"), keyring.key("mallory"), parse_signers(line), print).admit(time.time())


def test_an_expired_key_is_refused(keyring: Keyring) -> None:
    signers = keyring.signers(keyring.line("alice", 'valid-before="20200101Z"'))
    with pytest.raises(SigningFailed, match="had expired then"):
        Signing(identity("alice"), keyring.key("alice"), signers, print).admit(time.time())


# In the journal


def test_a_journal_stores_checkpoints_as_they_are_sealed(keyring: Keyring, tmp_path: Path) -> None:
    journal = LocalBook(tmp_path).create(RUN, encode_plan(NINE), ME, signing(keyring, 1).seal)
    journal.append(drafts()[:3])
    for _ in range(2):
        journal.checkpoint(MARK.at, identity("alice"))
    journal.close()
    first, second = LocalBook(tmp_path).find(RUN).checkpoints()
    verify(parse(first.signature), signed_bytes(first))
    assert second.unsigned == "the agent is gone"
    assert (first.size, second.size) == (3, 3)


def test_a_first_signature_that_is_refused_writes_no_checkpoint(keyring: Keyring, tmp_path: Path) -> None:
    journal = LocalBook(tmp_path).create(RUN, encode_plan(NINE), ME, signing(keyring, 0).seal)
    journal.append(drafts()[:1])
    with pytest.raises(SigningFailed):
        journal.checkpoint(MARK.at, identity("alice"))
    journal.close()
    assert LocalBook(tmp_path).find(RUN).checkpoints() == ()


@pytest.mark.parametrize("left", range(1, 400, 7))
def test_a_checkpoint_torn_by_a_crash_does_not_spoil_the_next(left: int, keyring: Keyring, tmp_path: Path) -> None:
    book = LocalBook(tmp_path)
    journal = book.create(RUN, encode_plan(NINE), ME, signing(keyring, 9).seal)
    journal.append(drafts()[:1])
    for _ in range(2):
        journal.checkpoint(MARK.at, identity("alice"))
    path = tmp_path / "runs" / RUN / CHECKPOINTS
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    path.write_bytes(raw[: first + left])
    assert len(book.find(RUN).checkpoints()) == 1
    journal.checkpoint(MARK.at, identity("alice"))
    journal.close()
    assert path.read_bytes() == raw
