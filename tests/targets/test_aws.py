"""An account of AWS: as whom it is asked, within which time, and what is said when it is not to be had."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from dr.targets.aws import Aws
from dr.targets.protocols import TargetUnreachable
from localstack.instance import REGION, LocalStack
from tests.here import Secrets, opened
from tests.proxy import ALWAYS, Answer, Fault, Proxy

pytestmark = pytest.mark.usefixtures("aws_credentials")
ROLE = "arn:aws:iam::000000000000:role/recovery"


@pytest.fixture
def proxy(localstack: LocalStack) -> Iterator[Proxy]:
    with Proxy(localstack.endpoint) as proxy:
        yield proxy


def account(localstack: LocalStack | Proxy, **more: str) -> Aws:
    return Aws(region=REGION, endpoint=localstack.endpoint, **more)


def test_it_answers_to_good_credentials(localstack: LocalStack) -> None:
    with opened(account(localstack)) as cloud:
        cloud.ping()


def test_a_role_is_assumed_under_the_name_of_run_and_step_and_its_keys_are_masked(localstack: LocalStack) -> None:
    secrets = Secrets({})
    with opened(account(localstack, role=ROLE), secrets=secrets, label="dr:run:step:1") as cloud:
        identity = cloud._api.ask("sts", "get_caller_identity")
    assert identity["Arn"] == "arn:aws:sts::000000000000:assumed-role/recovery/dr-run-step-1"
    assert len(secrets.masked) == 2


def test_a_refusal_of_the_credentials_is_unreachable_and_no_answer_about_the_thing(proxy: Proxy) -> None:
    proxy.on(Answer(403, "AccessDenied"), nth=ALWAYS)
    with opened(account(proxy)) as cloud, pytest.raises(TargetUnreachable, match=r"the-target: ssm get_parameter: "):
        cloud.parameters.read("/shop/mode")


def test_an_account_that_does_not_answer_is_given_up_in_time(proxy: Proxy) -> None:
    proxy.on(Fault.HANG, nth=ALWAYS)
    with opened(account(proxy), timeout=0.5) as cloud, pytest.raises(TargetUnreachable, match="no answer in time"):
        cloud.ping()


def test_a_lost_answer_is_asked_for_again(proxy: Proxy) -> None:
    proxy.on(Fault.RESET_BEFORE_REPLY, nth=(1,))
    with opened(account(proxy)) as cloud:
        assert cloud.parameters.read("/there/is/none") is None
    assert len(proxy.seen) == 2


def test_what_must_not_be_repeated_is_sent_once(proxy: Proxy) -> None:
    proxy.on(Fault.RESET_BEFORE_REPLY, nth=(1,))
    with opened(account(proxy)) as cloud, pytest.raises(TargetUnreachable):
        cloud._api.once("sts", "get_caller_identity")
    assert len(proxy.seen) == 1


def test_a_profile_that_is_not_there_is_told(localstack: LocalStack) -> None:
    with opened(account(localstack, profile="none")) as cloud, pytest.raises(TargetUnreachable, match="profile"):
        cloud.ping()


def test_without_credentials_nothing_is_asked(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with opened(account(proxy)) as cloud, pytest.raises(TargetUnreachable, match="credentials"):
        cloud.ping()
    assert not proxy.seen


def test_boto3_is_loaded_at_the_first_opening_and_not_before() -> None:
    code = (
        "import sys, dr.steps; from dr.targets import aws; loaded = 'boto3' in sys.modules\n"
        "from tests.here import opened\n"
        "with opened(aws.Aws(region='eu-central-1')): print(loaded, 'boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"]
