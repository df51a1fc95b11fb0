"""Real SSH keys, made by OpenSSH itself, and what is signed with them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec
import pytest

from dr.audit import allowed_signers
from dr.audit.chain import Checkpoint, signed_bytes
from dr.audit.key_file import FileKey, read_key
from dr.audit.signature import NAMESPACE, armour, to_be_signed
from dr.audit.signing import Signing

KINDS = {
    "alice": ("ed25519",),
    "bob": ("rsa", "-b", "3072"),
    "carol": ("ecdsa", "-b", "256"),
    "dave": ("ecdsa", "-b", "384"),
    "erin": ("ecdsa", "-b", "521"),
    "mallory": ("ed25519",),
}
ALLOWED = ("alice", "bob", "carol", "dave", "erin")
"""Mallory is an insider: she can write every file, and her key is on no list."""


class Keyring:
    """A folder of keys, each called after whose it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, kind in KINDS.items():
            ssh_keygen("-q", "-t", *kind, "-N", "", "-C", "", "-f", str(folder / name))

    def path(self, name: str) -> Path:
        return self.folder / name

    @cache  # noqa: B019 - one keyring lives as long as the tests
    def key(self, name: str) -> FileKey:
        return read_key(self.path(name), passphrase)

    def line(self, name: str, options: str = "", who: str = "") -> str:
        """The person's line of `allowed_signers`."""
        return " ".join(filter(None, (who or identity(name), options, self.key(name).public.line)))

    @property
    def allowed(self) -> str:
        """An `allowed_signers` file."""
        return "".join(f"{self.line(name)}\n" for name in ALLOWED)

    def signers(self, text: str = "") -> allowed_signers.AllowedSigners:
        return allowed_signers.parse(text or self.allowed)

    def signing(self, name: str) -> Signing:
        return Signing(identity(name), self.key(name), self.signers(), warn=print)

    def sign(self, mark: Checkpoint, name: str = "alice", namespace: str = NAMESPACE) -> Checkpoint:
        """The checkpoint as that person signs it, wherever it comes from."""
        key = self.key(name)
        text = armour(key.public, key.sign(to_be_signed(signed_bytes(mark), namespace)), namespace)
        return msgspec.structs.replace(mark, signature=text, unsigned="")


def identity(name: str) -> str:
    return f"{name}@example.org"


def passphrase() -> str:
    raise AssertionError("nobody was to be asked for a passphrase")


def asked(*arguments: str, message: bytes = b"") -> tuple[bool, str]:
    """Whether OpenSSH's own program is content, and what it says. Times without a zone are UTC."""
    done = subprocess.run(
        ["ssh-keygen", *arguments], input=message, capture_output=True, check=False, env={**os.environ, "TZ": "UTC"}
    )
    return done.returncode == 0, (done.stdout + done.stderr).decode()


def ssh_keygen(*arguments: str, message: bytes = b"") -> str:
    """What it says, and it must be content."""
    content, said = asked(*arguments, message=message)
    assert content, said
    return said


@contextmanager
def ssh_agent(folder: Path, keys: Sequence[Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A real agent that holds the keys, and `SSH_AUTH_SOCK` pointing at it."""
    place = folder / "agent"
    before = os.environ.get("SSH_AUTH_SOCK")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it says where it listens, once it does
        os.environ["SSH_AUTH_SOCK"] = str(place)
        for key in keys:
            subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL)
        yield agent
    finally:
        agent.send_signal(signal.SIGCONT)
        agent.terminate()
        agent.wait()
        if agent.stdout is not None:
            agent.stdout.close()
        os.environ.pop("SSH_AUTH_SOCK")
        if before is not None:
            os.environ["SSH_AUTH_SOCK"] = before


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH's ssh-keygen is not installed")
    return Keyring(tmp_path_factory.mktemp("keyring"))
