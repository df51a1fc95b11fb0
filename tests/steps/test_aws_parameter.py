"""Against real Systems Manager calls, answered by LocalStack."""

import uuid
from typing import Any

import msgspec
import pytest

from dr.core.step import Evidence, InPlace, NotInPlace, Observation
from dr.steps.aws_parameter import AwsParameter
from dr.targets.cloud import CloudAccount, Parameter
from dr.targets.protocols import Conflict
from localstack.instance import LocalStack
from tests.here import World

NEW = {"value": "read-only"}
SECRET = {"secret": "env:TOKEN"}


@pytest.fixture
def ssm(localstack: LocalStack) -> Any:
    return localstack.client("ssm")


@pytest.fixture
def name() -> str:
    return f"/shop/{uuid.uuid4().hex}"


def undo(cloud: World, step: AwsParameter, before: Evidence) -> Observation:
    with cloud.act() as here:
        step.undo(here, before)
        step.undo(here, before)
        return step.observe_undone(here, before)


def step(name: str, **value: str) -> AwsParameter:
    return AwsParameter(account="cloud", name=name, **value)


def stored(ssm: Any, name: str) -> str:
    value: str = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value


def test_a_parameter_is_set_seen_and_undone(cloud: World, ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="normal", Type="String")
    before = cloud.observe(step(name, **NEW))
    assert before == NotInPlace({"exists": True, "version": 1, "value": "normal"})
    after = {"exists": True, "version": 2, "value": "read-only"}
    assert cloud.apply(step(name, **NEW)) == after
    assert cloud.apply(step(name, **NEW)) == after  # harmless when repeated
    assert cloud.observe(step(name, **NEW)) == InPlace(after)
    assert isinstance(before, NotInPlace)
    assert isinstance(undo(cloud, step(name, **NEW), before.evidence), InPlace)
    assert stored(ssm, name) == "normal"


def test_a_parameter_that_was_not_there_is_made_and_removed_again(cloud: World, ssm: Any, name: str) -> None:
    before = cloud.observe(step(name, **NEW))
    assert before == NotInPlace({"exists": False})
    cloud.apply(step(name, **NEW))
    with cloud.act() as here:
        assert isinstance(step(name, **NEW).observe_undone(here, {"exists": False}), NotInPlace)
    assert undo(cloud, step(name, **NEW), {"exists": False}) == InPlace({"exists": False})
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        stored(ssm, name)


def test_a_secret_is_written_compared_and_restored_and_no_evidence_has_it(cloud: World, ssm: Any, name: str) -> None:
    """Safety rule 13."""
    ssm.put_parameter(Name=name, Value="the-old-secret", Type="SecureString", Description="of the shop")
    secret = step(name, **SECRET)
    before = cloud.observe(secret)
    assert before == NotInPlace({"exists": True, "version": 1})
    with cloud.look() as here:
        assert here.reach(CloudAccount, "cloud").parameters.read(name) == Parameter(version=1, secret=True, value=None)
    assert cloud.apply(secret) == {"exists": True, "version": 2}
    assert cloud.observe(secret) == InPlace({"exists": True, "version": 2})
    assert stored(ssm, name) == "s3cr3t-token"
    assert isinstance(before, NotInPlace)
    undone = undo(cloud, secret, before.evidence)
    assert undone == InPlace({"exists": True, "version": 3})
    assert stored(ssm, name) == "the-old-secret"
    assert {"s3cr3t-token", "the-old-secret"} <= cloud.masked
    assert "TOKEN" in secret.summary()
    assert "s3cr3t" not in secret.summary()


def test_the_key_and_the_description_of_a_parameter_survive_an_overwrite(cloud: World, ssm: Any, name: str) -> None:
    about = {"Description": "of the shop", "KeyId": "alias/shop"}
    ssm.put_parameter(Name=name, Value="old", Type="SecureString", AllowedPattern="^[a-z0-9-]+$", **about)
    sent: dict[str, Any] = {}
    with cloud.act() as here:
        step(name, **SECRET).observe(here)
        account: Any = here.reach(CloudAccount, "cloud")
        [client] = account._api._clients.values()  # LocalStack keeps also what AWS would lose: what is sent counts
        client.meta.events.register("provide-client-params.ssm.PutParameter", lambda params, **_: sent.update(params))
        step(name, **SECRET).apply(here)
    assert {field: sent[field] for field in about} == about
    [found] = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"]
    assert {field: found[field] for field in about} == about
    assert found["AllowedPattern"] == "^[a-z0-9-]+$"


def test_a_change_by_somebody_else_is_not_overwritten_by_the_undo(cloud: World, ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="normal", Type="String")
    cloud.apply(step(name, **NEW))
    ssm.put_parameter(Name=name, Value="theirs", Type="String", Overwrite=True)
    with cloud.act() as here, pytest.raises(Conflict, match="changed by somebody else"):
        step(name, **NEW).undo(here, {"exists": True, "version": 1, "value": "normal"})
    assert stored(ssm, name) == "theirs"


def test_a_secret_is_never_put_where_everybody_can_read(cloud: World, ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="normal", Type="String")
    with cloud.act() as here, pytest.raises(LookupError, match="is a String and is given a secret"):
        step(name, **SECRET).apply(here)
    assert stored(ssm, name) == "normal"


def test_a_plain_value_does_not_replace_a_secret(cloud: World, ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="read-only", Type="SecureString")
    assert cloud.observe(step(name, **NEW)) == NotInPlace({"exists": True, "version": 1})
    with cloud.act() as here, pytest.raises(LookupError, match="is a SecureString and is given no secret"):
        step(name, **NEW).apply(here)


def test_the_preview_is_the_parameter_as_it_stands(cloud: World, ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="normal", Type="String")
    with cloud.look() as here:
        assert step(name, **NEW).preview(here) == {"exists": True, "version": 1, "value": "normal"}
    assert stored(ssm, name) == "normal"


@pytest.mark.parametrize("value", [{}, {**NEW, **SECRET}, {"secret": "hunter2"}, {"value": ""}])
def test_exactly_one_value_and_a_secret_only_by_reference(value: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"account": "cloud", "name": "/shop/mode", **value}, AwsParameter)
    assert "hunter2" not in str(refused.value)
