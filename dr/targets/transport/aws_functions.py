"""Functions of AWS Lambda. Loads boto3."""

from typing import Final

from dr.targets.transport.aws_api import Api

LARGEST: Final = 65_536
"""Bytes of an answer (safety rule 15)."""


class LambdaFunctions:
    """Functions (`dr.targets.cloud`)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def invoke(self, name: str, payload: bytes) -> bytes:
        answer = self._api.once("lambda", "invoke", FunctionName=name, Payload=payload)
        if "FunctionError" in answer:
            raise LookupError(f"the function {name} failed: {answer['FunctionError']}")
        return self._api.body(answer["Payload"], LARGEST)

    def ready(self, name: str) -> str:
        found = self._api.ask("lambda", "get_function_configuration", FunctionName=name)
        return str(found.get("State", "Active"))
