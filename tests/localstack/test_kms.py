"""What signed checkpoints rely on of KMS, seen on the running LocalStack."""

import hashlib
from typing import Any

import pytest

from localstack.instance import LocalStack

ALGORITHM = "ECDSA_SHA_256"
P256 = bytes.fromhex("06082a8648ce3d030107")  # the curve's object identifier in a DER public key
DIGEST = hashlib.sha256(b"checkpoint").digest()


@pytest.fixture
def kms(localstack: LocalStack) -> Any:
    return localstack.client("kms")


@pytest.fixture
def key(kms: Any) -> str:
    """An alias of a new signing key."""
    created = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    alias = f"alias/{created['KeyId']}"
    kms.create_alias(AliasName=alias, TargetKeyId=created["KeyId"])
    return alias


def sign(kms: Any, key: str) -> bytes:
    answer = kms.sign(KeyId=key, Message=DIGEST, MessageType="DIGEST", SigningAlgorithm=ALGORITHM)
    return bytes(answer["Signature"])


def verify(kms: Any, key: str, digest: bytes, signature: bytes) -> bool:
    arguments = {"Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": ALGORITHM, "Signature": signature}
    return bool(kms.verify(KeyId=key, **arguments)["SignatureValid"])


def test_a_p256_key_signs_a_digest_under_its_alias(kms: Any, key: str) -> None:
    assert verify(kms, key, DIGEST, sign(kms, key))


def test_a_signature_of_another_digest_or_another_key_is_refused(kms: Any, key: str) -> None:
    signature = sign(kms, key)
    with pytest.raises(kms.exceptions.KMSInvalidSignatureException):
        verify(kms, key, hashlib.sha256(b"another").digest(), signature)
    other = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with pytest.raises(kms.exceptions.KMSInvalidSignatureException):
        verify(kms, other, DIGEST, signature)


def test_the_public_key_can_be_taken_away_for_an_auditor_without_kms(kms: Any, key: str) -> None:
    public = kms.get_public_key(KeyId=key)
    assert P256 in public["PublicKey"]
    assert ALGORITHM in public["SigningAlgorithms"]
    assert public["KeyId"].startswith("arn:aws:kms:")
