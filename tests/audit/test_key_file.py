"""Private keys as `ssh-keygen` writes them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dr.audit.key_file import read_key
from dr.audit.signature import BadSignature, armour, parse, to_be_signed, verify
from dr.errors import SigningFailed
from tests.keyring import ALLOWED, Keyring, passphrase, ssh_keygen


@pytest.mark.parametrize("name", ALLOWED)
def test_a_key_signs_what_its_public_half_verifies(name: str, keyring: Keyring) -> None:
    key = keyring.key(name)
    found = parse(armour(key.public, key.sign(to_be_signed(b"these bytes"))))
    verify(found, b"these bytes")
    with pytest.raises(BadSignature):
        verify(found, b"other bytes")


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    ssh_keygen("-q", "-t", "ed25519", "-N", "open sesame", "-f", str(path))
    return path


def test_a_passphrase_is_asked_for_where_there_is_one(encrypted: Path) -> None:
    asked = []

    def answer() -> str:
        asked.append(1)
        return "open sesame"

    public = read_key(encrypted, answer).public
    assert public.line == " ".join(encrypted.with_suffix(".pub").read_text().split()[:2])
    assert asked == [1]


def test_a_wrong_passphrase_is_told_without_it(encrypted: Path) -> None:
    with pytest.raises(SigningFailed, match="its passphrase is wrong") as refused:
        read_key(encrypted, lambda: "geheim")
    assert "geheim" not in f"{refused.value} {refused.value.hint} {refused.value.__cause__}"
    assert refused.value.hint.startswith("ssh-keygen -y -f")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SigningFailed, match="cannot be read: No such file"):
        read_key(tmp_path / "none", passphrase)


def test_a_key_that_others_can_read_is_refused(encrypted: Path) -> None:
    """As ssh does: what others can read is no proof of who signed."""
    encrypted.chmod(0o640)
    with pytest.raises(SigningFailed, match=r"can be read by others \(mode 0640\)"):
        read_key(encrypted, lambda: "open sesame")


@pytest.mark.parametrize("content", [b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\xff" * 100])
def test_what_is_no_key_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(SigningFailed, match="damaged, of an unknown format"):
        read_key(tmp_path / "key", passphrase)


@pytest.mark.filterwarnings("ignore:SSH DSA key")
def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = dsa.generate_private_key(1024)  # noqa: S505 - the only size SSH knows; it is to be refused
    raw = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "key").write_bytes(raw)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(SigningFailed, match="of a kind that cannot sign checkpoints"):
        read_key(tmp_path / "key", passphrase)
