"""Against moto, which runs no code: it gives the answers it was told to. LocalStack's Lambda needs Docker."""

import io
import json
import urllib.request
import uuid
import zipfile
from typing import Any

import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.aws_lambda import AwsLambdaInvoke, Call, Check
from localstack.instance import REGION
from tests.here import World
from tests.moto_fixture import Moto


class Function:
    """A function, and what it will answer."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto
        self.name = f"evacuate-{uuid.uuid4().hex[:8]}"
        self._post("config", {"lambda": {"use_docker": False}})
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("main.py", "")
        trust = {"Version": "2012-10-17", "Statement": []}
        role = moto.client("iam").create_role(RoleName=self.name, AssumeRolePolicyDocument=json.dumps(trust))
        moto.client("lambda").create_function(
            FunctionName=self.name,
            Runtime="python3.12",
            Role=role["Role"]["Arn"],
            Handler="main.run",
            Code={"ZipFile": archive.getvalue()},
        )

    def answers(self, *answers: object) -> None:
        results = [json.dumps(answer) for answer in answers]
        self._post("static/lambda-simple/response", {"results": results, "region": REGION})

    def _post(self, path: str, body: object) -> None:
        url = f"{self._moto.endpoint}/moto-api/{path}"
        with urllib.request.urlopen(url, json.dumps(body).encode()):  # noqa: S310 - an address of this machine
            pass


@pytest.fixture
def function(moto: Moto) -> Function:
    return Function(moto)


def step(function: Function, **more: Any) -> AwsLambdaInvoke:
    check = Check(function=function.name, payload={"do": "look"}, answer="standby", field="site")
    call = Call(function=function.name, payload={"do": "evacuate"})
    back = Call(function=function.name, payload={"do": "return"})
    return AwsLambdaInvoke(**{"account": "cloud", "call": call, "check": check, "back": back, **more})


def test_a_function_is_called_and_another_call_says_whether_it_stands(moto_cloud: World, function: Function) -> None:
    function.answers({"site": "primary"}, {"token": "s3cr3t"}, {"site": "standby"}, None, {"site": "primary"})
    with moto_cloud.look() as here:
        assert step(function).observe(here) == NotInPlace({"answer": "primary"})
    with moto_cloud.act() as here:
        assert step(function).apply(here) == {"returned": True}
        assert step(function).observe(here) == InPlace({"answer": "standby"})
        assert step(function).undo(here, {}) == {"returned": True}
        assert step(function).observe_undone(here, {}) == InPlace({"answer": "primary"})


def test_the_preview_calls_nothing(moto_cloud: World, function: Function) -> None:
    with moto_cloud.look() as here:
        assert step(function).preview(here) == {"state": "Active"}


def test_a_function_that_is_not_there_is_told(moto_cloud: World, function: Function) -> None:
    with moto_cloud.look() as here, pytest.raises(LookupError, match="ResourceNotFoundException"):
        step(function, call=Call(function="none")).preview(here)


def test_without_a_way_back_it_is_a_point_of_no_return(function: Function) -> None:
    assert (step(function).reverses(), step(function, back=None).reverses()) == ("undo", "impossible")
