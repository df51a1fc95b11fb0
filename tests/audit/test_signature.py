"""Signatures as OpenSSH makes and checks them: ours by its program, its program's by us, and forgeries by both."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.audit import signature as sshsig
from dr.audit.key_file import read_key
from dr.audit.signature import NAMESPACE, BadSignature, PublicKey, armour, parse, to_be_signed, verify
from dr.audit.wire import string, uint32
from tests.keyring import ALLOWED, KINDS, Keyring, asked, identity, passphrase, ssh_keygen

MESSAGE = b'{"run":"a run","size":30}'


def signed(keyring: Keyring, name: str, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> str:
    key = keyring.key(name)
    return armour(key.public, key.sign(to_be_signed(message, namespace)), namespace)


def blob(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def wrapped(raw: bytes) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(raw).decode()}\n-----END SSH SIGNATURE-----\n"


def by_hand(
    key: bytes,
    raw: bytes,
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    reserved: bytes = b"",
    hash_name: str = "sha512",
) -> str:
    parts = (key, NAMESPACE.encode(), reserved, hash_name.encode(), raw)
    return wrapped(magic + uint32(version) + b"".join(map(string, parts)))


@pytest.mark.parametrize("name", ALLOWED)
def test_openssh_accepts_what_we_sign(name: str, keyring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "sig").write_text(signed(keyring, name))
    (tmp_path / "allowed").write_text(keyring.allowed)
    options = ("-n", NAMESPACE, "-s", str(tmp_path / "sig"), "-f", str(tmp_path / "allowed"), "-I", identity(name))
    said = ssh_keygen("-Y", "verify", *options, message=MESSAGE)
    assert keyring.key(name).public.fingerprint in said
    assert "incorrect signature" in asked("-Y", "verify", *options, message=MESSAGE + b" ")[1]


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_we_accept_what_openssh_signs(name: str, hash_name: str, keyring: Keyring) -> None:
    options = ("-n", NAMESPACE, "-f", str(keyring.path(name)), "-O", f"hashalg={hash_name}")
    text = ssh_keygen("-Y", "sign", *options, message=MESSAGE).partition("-----BEGIN")
    found = parse(text[1] + text[2][: text[2].index("END SSH SIGNATURE-----\n") + 23])
    assert (found.hash, found.key) == (hash_name, keyring.key(name).public)
    verify(found, MESSAGE)
    with pytest.raises(BadSignature, match="over other bytes"):
        verify(found, MESSAGE + b" ")


@pytest.mark.parametrize("name", ALLOWED)
def test_our_text_is_byte_for_byte_what_openssh_writes(name: str, keyring: Keyring) -> None:
    """For keys whose signatures do not differ from one time to the next."""
    said = ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(keyring.path(name)), message=MESSAGE)
    ours = signed(keyring, name)
    assert len(ours.splitlines()[1]) == len(said[said.index("-----BEGIN") :].splitlines()[1])
    if KINDS[name][0] != "ecdsa":
        assert ours in said


@pytest.mark.parametrize("name", KINDS)
def test_fingerprint_and_line_are_those_that_openssh_shows(name: str, keyring: Keyring) -> None:
    public = keyring.key(name).public
    assert public.fingerprint == ssh_keygen("-l", "-f", str(keyring.path(name))).split()[1]
    assert public.line == Path(f"{keyring.path(name)}.pub").read_text().strip()


@pytest.mark.parametrize("name", ALLOWED)
def test_a_signature_with_any_byte_changed_is_refused(name: str, keyring: Keyring) -> None:
    raw = blob(signed(keyring, name))
    step = 1 if len(raw) < 300 else 7  # an RSA signature is long
    for at in range(0, len(raw), step):
        changed = wrapped(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(BadSignature):
            verify(parse(changed), MESSAGE)


def test_a_signature_for_another_purpose_is_refused(keyring: Keyring) -> None:
    with pytest.raises(BadSignature, match=r"another purpose \(namespace 'git'\)"):
        verify(parse(signed(keyring, "alice", namespace="git")), MESSAGE)


def test_the_key_of_another_does_not_fit_a_signature(keyring: Keyring) -> None:
    key = keyring.key("alice")
    with pytest.raises(BadSignature, match="over other bytes"):
        verify(parse(by_hand(keyring.key("mallory").public.blob, key.sign(to_be_signed(MESSAGE)))), MESSAGE)


def test_an_algorithm_that_is_not_the_keys_own_is_refused(keyring: Keyring) -> None:
    """`ssh-rsa` is SHA-1; and a key of one type must not be told to be of another."""
    for algorithm in (b"ssh-rsa", b"ssh-ed25519"):
        with pytest.raises(BadSignature, match="not accepted"):
            parse(by_hand(keyring.key("bob").public.blob, string(algorithm) + string(b"x" * 384)))


def test_an_unknown_hash_and_a_reserved_field_are_refused(keyring: Keyring) -> None:
    key = keyring.key("alice").public.blob
    raw = string(b"ssh-ed25519") + string(b"x" * 64)
    for text in (by_hand(key, raw, hash_name="sha1"), by_hand(key, raw, reserved=b"later")):
        with pytest.raises(BadSignature, match="not accepted"):
            parse(text)


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "not an SSH signature"),
        ("-----BEGIN PGP SIGNATURE-----\n", "not an SSH signature"),
        (wrapped(b"a" * sshsig.LARGEST), "not an SSH signature"),
        ("-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----\n", "not an SSH signature: "),
        (wrapped(b"SSHSIG"), "cut off"),
        (by_hand(b"", b"", magic=b"sshsig"), "does not begin as one"),
        (by_hand(b"", b"", version=2), "does not begin as one"),
        (by_hand(string(b"ssh-ed25519"), string(b"ssh-ed25519") + string(b"") + b"more"), "follows its end"),
        (by_hand(string(b"sk-ssh-ed25519@openssh.com"), string(b"") + string(b"")), "'sk-ssh-ed25519@openssh"),
        (by_hand(string(b"ssh-ed25519"), string(b"ssh-ed25519") + string(b"")), "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_signature_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify(parse(text), MESSAGE)


def test_an_ecdsa_signature_with_more_behind_it_is_refused(keyring: Keyring) -> None:
    numbers = string(b"\x01") + string(b"\x01") + b"more"
    text = by_hand(keyring.key("carol").public.blob, string(b"ecdsa-sha2-nistp256") + string(numbers))
    with pytest.raises(BadSignature, match="cannot be read"):
        verify(parse(text), MESSAGE)


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(tmp_path / "short"))
    key = read_key(tmp_path / "short", passphrase)
    text = armour(key.public, key.sign(to_be_signed(MESSAGE)))
    with pytest.raises(BadSignature, match="has 1024 bits"):
        verify(parse(text), MESSAGE)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(parse(wrapped(b"SSHSIG" + raw)), MESSAGE)


def test_a_public_key_says_what_it_is() -> None:
    key = PublicKey(string(b"ssh-ed25519") + string(b"k" * 32))
    assert key.kind == "ssh-ed25519"
    assert key.line.startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")
