"""A key in a real KMS (LocalStack's), whose signatures OpenSSH accepts."""

from pathlib import Path
from typing import Any

import pytest

from dr.audit.kms import KmsKey, find_key
from dr.audit.signature import NAMESPACE, armour, parse, to_be_signed, verify
from dr.errors import SigningFailed
from localstack.instance import LocalStack
from tests.keyring import ssh_keygen

MESSAGE = b"a checkpoint"


@pytest.fixture
def kms(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in localstack.environment.items():
        monkeypatch.setenv(name, value)
    return localstack.client("kms")


def create(kms: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    metadata = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    arn: str = metadata["Arn"]
    return arn


@pytest.fixture
def key(kms: Any) -> KmsKey:
    return find_key(create(kms))


def test_what_kms_signs_verifies_offline(key: KmsKey) -> None:
    for number in range(20):  # now and then a number in it begins with a high bit
        message = MESSAGE + bytes([number])
        verify(parse(armour(key.public, key.sign(to_be_signed(message)))), message)


def test_openssh_accepts_what_kms_signs(key: KmsKey, tmp_path: Path) -> None:
    (tmp_path / "sig").write_text(armour(key.public, key.sign(to_be_signed(MESSAGE))))
    (tmp_path / "allowed").write_text(f"drills {key.public.line}\n")
    options = ("-n", NAMESPACE, "-s", str(tmp_path / "sig"), "-f", str(tmp_path / "allowed"), "-I", "drills")
    assert key.public.fingerprint in ssh_keygen("-Y", "verify", *options, message=MESSAGE)


def test_a_key_is_found_by_its_alias(kms: Any) -> None:
    arn = create(kms)
    alias = f"alias/drills-{arn.rpartition('/')[2]}"
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    assert find_key(alias).public == find_key(arn).public


def test_a_region_in_the_name_counts(kms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = create(kms)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    find_key(arn)
    with pytest.raises(SigningFailed, match="cannot be used"):
        find_key(arn.rpartition("/")[2])


def test_a_key_of_another_kind_is_refused(kms: Any) -> None:
    with pytest.raises(SigningFailed, match="wrong kind: ECC_NIST_P384 for SIGN_VERIFY"):
        find_key(create(kms, "ECC_NIST_P384"))


@pytest.mark.usefixtures("kms")
def test_a_key_that_is_not_there_is_told() -> None:
    with pytest.raises(SigningFailed, match=r"kms:alias/none cannot be used: .*NotFoundException"):
        find_key("alias/none")


def test_a_key_that_was_switched_off_meanwhile_is_told(kms: Any) -> None:
    arn = create(kms)
    key = find_key(arn)
    kms.disable_key(KeyId=arn)
    with pytest.raises(SigningFailed, match=r"does not sign with arn:.*DisabledException"):
        key.sign(b"")
