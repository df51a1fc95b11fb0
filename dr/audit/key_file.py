"""A private key in a file, as `ssh-keygen` writes it."""

import base64
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from dr.audit.keys import unusable
from dr.audit.signature import PublicKey
from dr.audit.wire import mpint, string

PrivateKey = Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey
LARGEST = 64 * 1024
"""Bytes of a key file."""
_CURVE_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


class FileKey:
    """A private key held in memory."""

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self.public = public_key(private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))

    def sign(self, data: bytes) -> bytes:
        key = self._private
        if isinstance(key, Ed25519PrivateKey):
            return string(b"ssh-ed25519") + string(key.sign(data))
        if isinstance(key, RSAPrivateKey):
            return string(b"rsa-sha2-512") + string(key.sign(data, PKCS1v15(), hashes.SHA512()))
        return ecdsa_signature(self.public, key.sign(data, ECDSA(_CURVE_HASHES[key.key_size])))


def read_key(path: Path, passphrase: Callable[[], str]) -> FileKey:
    """The key in the file.

    Raises:
        SigningFailed: it cannot be read, is open to others, or is of a kind that cannot sign checkpoints.
        SecretMissing: its passphrase cannot be looked up.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(LARGEST)
    except OSError as error:
        raise unusable(f"the signing key {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise unusable(f"the signing key {path} can be read by others (mode {mode:04o})", hint=f"chmod 600 {path}")
    return FileKey(_decrypt(path, raw, passphrase))


def public_key(line: bytes) -> PublicKey:
    """The public key of a line as OpenSSH writes it."""
    return PublicKey(base64.b64decode(line.split()[1]))


def ecdsa_signature(public: PublicKey, der: bytes) -> bytes:
    """An ECDSA signature in SSH's wire format, from one in DER."""
    r, s = decode_dss_signature(der)
    return string(public.kind.encode()) + string(mpint(r) + mpint(s))


def _decrypt(path: Path, raw: bytes, passphrase: Callable[[], str]) -> PrivateKey:
    try:
        try:
            key = load_ssh_private_key(raw, None)
        except TypeError:  # its way to say that there is a passphrase
            key = load_ssh_private_key(raw, passphrase().encode())
    except (ValueError, NotImplementedError, UnsupportedAlgorithm) as error:
        raise unusable(
            f"the signing key {path} cannot be used: it is damaged, of an unknown format, or its passphrase is wrong",
            hint=f"ssh-keygen -y -f {path}   (whether OpenSSH can read it)",
        ) from error
    if not isinstance(key, PrivateKey):
        raise unusable(f"the signing key {path} is of a kind that cannot sign checkpoints (known: ed25519, RSA, ECDSA)")
    return key
