"""Parameters of AWS Systems Manager. Loads boto3."""

from typing import Any, Final

from dr.targets.cloud import Parameter
from dr.targets.transport.aws_api import Api, Refused

SECURE: Final = "SecureString"
KEPT: Final = ("Description", "AllowedPattern", "KeyId", "DataType")
"""What an overwrite would otherwise lose: a SecureString without its key falls back to the account's default key."""
GONE: Final = {"ParameterNotFound", "ParameterVersionNotFound"}


class SsmParameters:
    """Parameters (`dr.targets.cloud`)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def read(self, name: str) -> Parameter | None:
        stored = self._stored(name)
        return None if stored is None else _parameter(stored)

    def holds(self, name: str, value: str, *, secret: bool) -> bool:
        plain = self._plain(value, secret=secret)
        stored = self._stored(name)
        return stored is not None and (stored["Type"] == SECURE) == secret and stored["Value"] == plain

    def same(self, name: str, version: int) -> bool:
        stored, then = self._stored(name), self._kept(name, version)
        return stored is not None and (stored["Type"], stored["Value"]) == (then["Type"], then["Value"])

    def write(self, name: str, value: str, *, secret: bool) -> Parameter:
        stored = self._stored(name)
        if stored is not None and (stored["Type"] == SECURE) != secret:
            is_, not_ = ("a SecureString", "no secret") if not secret else (f"a {stored['Type']}", "a secret")
            raise LookupError(f"the parameter {name} is {is_} and is given {not_}")
        plain = self._plain(value, secret=secret)
        if stored is None:
            made = SECURE if secret else "String"
            self._api.ask("ssm", "put_parameter", Name=name, Value=plain, Type=made, Overwrite=False)
        elif stored["Value"] != plain:
            self._overwrite(name, plain, stored["Type"])
        return self._there(name)

    def restore(self, name: str, version: int) -> Parameter:
        then = self._kept(name, version)
        now = self._stored(name)
        if now is None or now["Value"] != then["Value"]:
            self._overwrite(name, then["Value"], then["Type"])
        return self._there(name)

    def remove(self, name: str) -> None:
        if self._stored(name) is not None:
            self._api.ask("ssm", "delete_parameter", Name=name)

    def _overwrite(self, name: str, value: str, kind: str) -> None:
        only = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
        found = self._api.ask("ssm", "describe_parameters", ParameterFilters=only)["Parameters"]
        kept = {key: found[0][key] for key in KEPT if found and found[0].get(key)}
        self._api.ask("ssm", "put_parameter", Name=name, Value=value, Type=kind, Overwrite=True, **kept)

    def _plain(self, value: str, *, secret: bool) -> str:
        """The value itself. A secret one is only ever named by a reference, which is resolved here, at its use."""
        return self._api.secret(value) if secret else value

    def _kept(self, name: str, version: int) -> dict[str, Any]:
        then = self._stored(f"{name}:{version}")
        if then is None:
            raise LookupError(f"version {version} of the parameter {name} is no longer kept")
        return then

    def _there(self, name: str) -> Parameter:
        found = self.read(name)
        if found is None:
            raise LookupError(f"the parameter {name} was removed by somebody else meanwhile")
        return found

    def _stored(self, name: str) -> dict[str, Any] | None:
        """The parameter with its plain value, which goes no further than this module if it is secret."""
        try:
            stored: dict[str, Any] = self._api.ask("ssm", "get_parameter", Name=name, WithDecryption=True)["Parameter"]
        except Refused as error:
            if error.code in GONE:
                return None
            raise
        if stored["Type"] == SECURE:
            self._api.mask(stored["Value"])
        return stored


def _parameter(stored: dict[str, Any]) -> Parameter:
    secret = stored["Type"] == SECURE
    return Parameter(version=stored["Version"], secret=secret, value=None if secret else stored["Value"])
