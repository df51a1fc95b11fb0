"""Signatures as OpenSSH makes and checks them (`ssh-keygen -Y`; PROTOCOL.sshsig). Pure: bytes in, verdict out.

The format was chosen because nobody needs `dr` to check it. What signs is an SSH key, because every operator has one.
`cryptography` is imported only when there is a signature to be checked: unsigned runs never pay for it.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dr.audit.wire import Malformed, Reader, string, uint32

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

NAMESPACE: Final = "dr-checkpoint@dr-runbooks"
"""What the signature is for, so that one made for a git commit or a file is never taken for a checkpoint's."""

HASH: Final = "sha512"
SHORTEST_RSA: Final = 2048
"""Bits."""
LARGEST: Final = 16 * 1024
"""Characters of an armoured signature; RSA of 16,384 bits has 6,000."""

_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----\n", "\n-----END SSH SIGNATURE-----\n"
_WIDTH = 70
_HASHES: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
ALGORITHMS: Final = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),  # never `ssh-rsa` itself: that is SHA-1
}
"""What a key of each type may sign with. Security keys (sk-*) and certificates are left out."""


class BadSignature(Exception):
    """The signature proves nothing, and why."""


class PublicKey(msgspec.Struct, frozen=True):
    """The public half of an SSH key, in SSH's wire format."""

    blob: bytes

    @property
    def kind(self) -> str:
        """`ssh-ed25519`, for instance. Raises `Malformed`."""
        return Reader(self.blob).text()

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` prints it: `SHA256:...`."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """As it stands in `id_ed25519.pub` and `allowed_signers`, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


class Signature(msgspec.Struct, frozen=True):
    """A signature that was taken apart and not judged yet."""

    key: PublicKey
    namespace: str
    hash: str
    algorithm: str
    value: bytes


def to_be_signed(message: bytes, namespace: str = NAMESPACE, hash_name: str = HASH) -> bytes:
    """The bytes that a key signs for `message`."""
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + string(namespace.encode()) + string(b"") + string(hash_name.encode()) + string(digest)


def armour(key: PublicKey, raw: bytes, namespace: str = NAMESPACE) -> str:
    """The text of a signature. `raw` is what the key answered: its algorithm and the value, in wire format."""
    blob = (
        _MAGIC
        + uint32(_VERSION)
        + string(key.blob)
        + string(namespace.encode())
        + string(b"")
        + string(HASH.encode())
        + string(raw)
    )
    text = base64.b64encode(blob).decode()
    return _BEGIN + "\n".join(text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)) + _END


def parse(text: str) -> Signature:
    """Take an armoured signature apart.

    Raises:
        BadSignature: it is not one, or of a kind that is not accepted.
    """
    if len(text) > LARGEST or not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise BadSignature("it is not an SSH signature")
    try:
        blob = base64.b64decode(text[len(_BEGIN) : -len(_END)].replace("\n", ""), validate=True)
        return _parse(blob)
    except (binascii.Error, Malformed) as error:
        raise BadSignature(f"it is not an SSH signature: {error}") from None


def _parse(blob: bytes) -> Signature:
    reader = Reader(blob)
    if reader.take(len(_MAGIC)) != _MAGIC or reader.uint32() != _VERSION:
        raise Malformed("it does not begin as one")
    key, namespace, reserved, hash_name = PublicKey(reader.string()), reader.text(), reader.string(), reader.text()
    raw = Reader(reader.string())
    reader.end()
    algorithm, value = raw.text(), raw.string()
    raw.end()
    if key.kind not in ALGORITHMS:
        raise BadSignature(f"keys of the type {key.kind!r} are not accepted (known: {', '.join(ALGORITHMS)})")
    if reserved or hash_name not in _HASHES or algorithm not in ALGORITHMS[key.kind]:
        raise BadSignature(f"it was made in a way that is not accepted ({algorithm!r} over {hash_name!r})")
    return Signature(key, namespace, hash_name, algorithm, value)


def verify(signature: Signature, message: bytes) -> None:
    """Check that the key has signed exactly `message`, as a checkpoint.

    Raises:
        BadSignature: it has not.
    """
    if signature.namespace != NAMESPACE:
        raise BadSignature(f"it was made for another purpose (namespace {signature.namespace!r})")
    data = to_be_signed(message, signature.namespace, signature.hash)
    if not _holds(signature, data):
        raise BadSignature("it was made over other bytes than these")


def _holds(signature: Signature, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(signature.key.line.encode())
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature.value, data)
        elif isinstance(key, EllipticCurvePublicKey):
            _verify_ecdsa(key, signature.value, data)
        else:
            assert isinstance(key, RSAPublicKey)  # `_parse` has let no other type in
            _verify_rsa(key, signature, data)
    except InvalidSignature:
        return False
    except (ValueError, NotImplementedError, UnsupportedAlgorithm) as error:
        raise BadSignature(f"it cannot be read: {error}") from None
    return True


def _verify_ecdsa(key: "EllipticCurvePublicKey", value: bytes, data: bytes) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    numbers = Reader(value)
    der = encode_dss_signature(numbers.number(), numbers.number())
    numbers.end()
    algorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
    key.verify(der, data, ECDSA(algorithm))


def _verify_rsa(key: "RSAPublicKey", signature: Signature, data: bytes) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    if key.key_size < SHORTEST_RSA:
        raise BadSignature(f"its RSA key has {key.key_size} bits; at least {SHORTEST_RSA:,} are asked")
    algorithm = hashes.SHA512() if signature.algorithm == "rsa-sha2-512" else hashes.SHA256()
    key.verify(signature.value, data, PKCS1v15(), algorithm)
