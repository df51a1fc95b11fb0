"""Secrets that a real Secrets Manager and a real Systems Manager (LocalStack's) keep."""

import subprocess
import sys
import uuid
from typing import Any

import pytest

from dr.aws_secrets import MOST_TEXT
from dr.errors import SecretMissing
from dr.secrets import MASK, Secrets
from localstack.instance import REGION, LocalStack

SECRET = "tr0ub4dor&3"


@pytest.fixture
def aws(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    for name, value in localstack.environment.items():
        monkeypatch.setenv(name, value)
    return localstack


def create(aws: LocalStack, **value: Any) -> str:
    """A new secret; its ARN."""
    arn: str = aws.client("secretsmanager").create_secret(Name=f"shop-{uuid.uuid4().hex}", **value)["ARN"]
    return arn


def put(aws: LocalStack, value: str = SECRET) -> str:
    name = f"/shop/{uuid.uuid4().hex}"
    aws.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString")
    return name


def test_a_secret_is_found_by_name_and_by_arn_and_masked(aws: LocalStack) -> None:
    arn = create(aws, SecretString=SECRET)
    name = aws.client("secretsmanager").describe_secret(SecretId=arn)["Name"]
    for reference in (f"aws-secret:{arn}", f"aws-secret:{name}"):
        secrets = Secrets()
        assert secrets.resolve(reference) == SECRET
        assert secrets.mask(f"login with {SECRET}") == f"login with {MASK}"


def test_one_key_of_a_secret_is_found(aws: LocalStack) -> None:
    arn = create(aws, SecretString=f'{{"username": "shop", "password": "{SECRET}", "port": 5432, "more": []}}')
    assert Secrets().resolve(f"aws-secret:{arn}#password") == SECRET
    assert Secrets().resolve(f"aws-secret:{arn}#port") == "5432"
    for key in ("passwort", "more"):
        with pytest.raises(SecretMissing, match=key) as missing:
            Secrets().resolve(f"aws-secret:{arn}#{key}")
        assert SECRET not in str(missing.value)


def test_a_parameter_is_found_deciphered_and_masked(aws: LocalStack) -> None:
    secrets = Secrets()
    assert secrets.resolve(f"ssm:{put(aws)}") == SECRET
    assert secrets.mask(SECRET) == MASK


def test_the_region_in_an_arn_counts(aws: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    name = put(aws)
    with pytest.raises(SecretMissing):
        Secrets().resolve(f"ssm:{name}")
    assert Secrets().resolve(f"ssm:arn:aws:ssm:{REGION}:000000000000:parameter{name}") == SECRET


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("reference", ["aws-secret:none", "ssm:/none"])
def test_a_secret_that_is_not_there_is_told(reference: str) -> None:
    with pytest.raises(SecretMissing, match=rf"the secret {reference} cannot be resolved: .*NotFound") as missing:
        Secrets().resolve(reference)
    assert missing.value.stands == "nothing was touched"


def test_a_secret_that_is_no_text_is_told(aws: LocalStack) -> None:
    with pytest.raises(SecretMissing, match="it is binary"):
        Secrets().resolve(f"aws-secret:{create(aws, SecretBinary=b'x')}")


def test_a_json_secret_is_never_quoted_when_it_is_broken(aws: LocalStack) -> None:
    with pytest.raises(SecretMissing) as missing:
        Secrets().resolve(f"aws-secret:{create(aws, SecretString=SECRET)}#password")
    assert SECRET not in str(missing.value)


def test_what_was_found_is_still_known_when_aws_is_gone(aws: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, secrets = f"ssm:{put(aws)}", Secrets()
    assert secrets.resolve(reference) == SECRET
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert secrets.resolve(reference) == SECRET
    with pytest.raises(SecretMissing, match="Could not connect") as missing:
        Secrets().resolve(reference)
    assert len(str(missing.value)) < MOST_TEXT + 200


def test_boto3_is_loaded_by_the_first_reference_to_aws_and_not_before() -> None:
    code = "import sys; from dr.secrets import Secrets; Secrets().resolve('env:PATH'); print('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"
