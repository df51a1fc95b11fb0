"""A key in AWS KMS, for drills that nobody attends. It never leaves AWS, and AWS records each use of it.

What it signs is put into the same format as an operator's signature, public key included: verification needs no AWS.
"""

import hashlib
import re
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from dr.audit.key_file import ecdsa_signature, public_key
from dr.audit.keys import unusable
from dr.audit.signature import PublicKey

KIND: Final = "ECC_NIST_P256"
_LIMITS = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
"""Seconds: at the end of a recovery nobody waits for a signature."""


class KmsKey:
    """A key that AWS signs with."""

    def __init__(self, client: Any, name: str, public: PublicKey) -> None:
        self.public = public
        self._client = client
        self._name = name

    def sign(self, data: bytes) -> bytes:
        try:
            answer = self._client.sign(
                KeyId=self._name,
                Message=hashlib.sha256(data).digest(),
                MessageType="DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        except (BotoCoreError, ClientError) as error:
            raise unusable(f"AWS KMS does not sign with {self._name}: {error}") from None
        return ecdsa_signature(self.public, answer["Signature"])


def find_key(name: str) -> KmsKey:
    """The key of that id, alias (`alias/...`) or ARN, whose region is then the one that counts.

    Raises:
        SigningFailed: it cannot be reached, or is of another kind than ECC_NIST_P256 for signing.
    """
    arn = re.match(r"arn:[^:]*:kms:([a-z0-9-]+):", name)
    try:
        client = boto3.client("kms", region_name=arn[1] if arn else None, config=_LIMITS)
        answer = client.get_public_key(KeyId=name)
    except (BotoCoreError, ClientError) as error:
        raise unusable(f"the signing key kms:{name} cannot be used: {error}", "aws kms get-public-key") from None
    if answer["KeySpec"] != KIND or answer["KeyUsage"] != "SIGN_VERIFY":
        what = f"{answer['KeySpec']} for {answer['KeyUsage']}"
        raise unusable(f"the signing key kms:{name} is of the wrong kind: {what}; it must be {KIND} for SIGN_VERIFY")
    key = load_der_public_key(answer["PublicKey"])
    return KmsKey(client, name, public_key(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)))
