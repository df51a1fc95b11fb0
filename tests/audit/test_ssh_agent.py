"""A real SSH agent, one that hangs, and what is none."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.audit.signature import PublicKey, armour, parse, to_be_signed, verify
from dr.audit.ssh_agent import LARGEST, find_key
from dr.audit.wire import string, uint32
from dr.errors import SigningFailed
from tests.keyring import ALLOWED, Keyring, ssh_agent

MESSAGE = b"a checkpoint"
SOON = 0.2
"""Seconds after which a test gives the agent up."""


@pytest.mark.parametrize("name", ALLOWED)
def test_a_key_of_the_agent_signs(name: str, keyring: Keyring, tmp_path: Path) -> None:
    with ssh_agent(tmp_path, [keyring.path(each) for each in ALLOWED]):
        key = find_key(keyring.key(name).public.fingerprint)
        found = parse(armour(key.public, key.sign(to_be_signed(MESSAGE))))
    assert found.key == keyring.key(name).public
    assert found.algorithm != "ssh-rsa"  # that would be SHA-1
    verify(found, MESSAGE)


def test_a_key_that_the_agent_does_not_hold_is_told_with_those_it_holds(keyring: Keyring, tmp_path: Path) -> None:
    with ssh_agent(tmp_path, [keyring.path("alice")]):
        with pytest.raises(SigningFailed, match="does not hold the signing key") as refused:
            find_key(keyring.key("bob").public.fingerprint)
        assert keyring.key("alice").public.fingerprint in refused.value.what
    with ssh_agent(tmp_path, []), pytest.raises(SigningFailed, match=r"it holds: none"):
        find_key(keyring.key("bob").public.fingerprint)


def test_an_agent_that_loses_the_key_refuses_to_sign(keyring: Keyring, tmp_path: Path) -> None:
    with ssh_agent(tmp_path, [keyring.path("alice")]):
        key = find_key(keyring.key("alice").public.fingerprint)
    with ssh_agent(tmp_path, []), pytest.raises(SigningFailed, match="refuses to sign with SHA256:"):
        key.sign(b"")


def test_no_agent_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(SigningFailed, match="SSH_AUTH_SOCK is not set"):
        find_key("SHA256:")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(SigningFailed, match="cannot be reached: No such file"):
        find_key("SHA256:")


def test_a_path_too_long_for_a_socket_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/" + "x" * 200)
    with pytest.raises(SigningFailed, match="cannot be reached"):
        find_key("SHA256:")


def test_a_frozen_agent_is_given_up(keyring: Keyring, tmp_path: Path) -> None:
    """As one is that waits for a person on another screen."""
    fingerprint = keyring.key("alice").public.fingerprint
    with ssh_agent(tmp_path, [keyring.path("alice")]) as agent:
        key = find_key(fingerprint, patience=SOON)
        agent.send_signal(signal.SIGSTOP)
        with pytest.raises(SigningFailed, match=r"has not answered for 0\.2 s"):
            key.sign(b"")


@contextmanager
def answering(place: Path, *answers: bytes) -> Iterator[None]:
    """What listens there gives these answers, one to each who asks, and then closes."""

    def answer() -> None:
        for raw in answers:
            visitor, _ = listener.accept()
            with visitor:
                visitor.recv(4096)
                visitor.sendall(raw)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            thread.join()


KEY = string(b"ssh-ed25519") + string(b"k" * 32)
LISTED = string(b"\x0c" + uint32(1) + string(KEY) + string(b"comment"))


@pytest.mark.parametrize(
    "answer, why",
    [
        (b"", "closed the connection"),
        (b"\0\0", "closed the connection"),
        (uint32(10) + b"\x0c", "closed the connection"),
        (uint32(0), "no SSH agent: an answer of 0 bytes"),
        (uint32(LARGEST + 1), "no SSH agent: an answer of 262,145 bytes"),
        (string(b"\x05"), "does not hold"),
        (string(b"\x0c" + uint32(2**32 - 1)), "no SSH agent: it is cut off"),
        (string(b"\x0c" + uint32(1) + uint32(99)), "no SSH agent: it is cut off"),
    ],
)
def test_what_is_no_agent_is_told(answer: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with answering(tmp_path / "agent", answer), pytest.raises(SigningFailed, match=why):
        find_key("SHA256:")


def test_a_signature_that_is_cut_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with answering(tmp_path / "agent", LISTED, string(b"\x0e" + uint32(99))):
        key = find_key(PublicKey(KEY).fingerprint)
        with pytest.raises(SigningFailed, match="no SSH agent: it is cut off"):
            key.sign(b"")
