"""A configuration of AWS AppConfig and its deployments to one environment. Loads boto3."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final

import msgspec

from dr.targets.protocols import Conflict
from dr.targets.transport.aws_api import Api, Refused
from dr.targets.transport.receipts import without_attempt

SERVICE: Final = "appconfig"
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a document (safety rule 15); AppConfig's own limit is 2 MB unless it was raised."""
ON_THE_WAY: Final = {"VALIDATING", "DEPLOYING", "ROLLING_BACK"}
TAKEN_BACK: Final = {"ROLLING_BACK", "ROLLED_BACK", "REVERTED"}
BAKING: Final = "BAKING"
"""Everyone is given it; an alarm would still take it back by itself."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of the document an environment is given."""

    version: int
    arriving: bool
    """Not everyone is given it yet."""
    before: int | None
    """The version that everyone was given before."""
    newest: int
    """Number of the environment's newest deployment, of whichever configuration."""
    under_way: int | None
    """That number, if it has not ended."""


class Deployments:
    """Reads and changes what the environment is given. Every change is made once and refused if it is not the next."""

    def __init__(self, api: Api, application: str, environment: str, profile: str, strategy: str) -> None:
        self._api = api
        self._environment = {"ApplicationId": application, "EnvironmentId": environment}
        self._document = {"ApplicationId": application, "ConfigurationProfileId": profile}
        self._profile = profile
        self._strategy = strategy

    def ping(self) -> None:
        """The environment is there."""
        self._api.ask(SERVICE, "get_environment", **self._environment)

    def rollout(self) -> Rollout:
        """What the environment is given of the configuration. Raises LookupError when nothing was ever deployed.

        Told by the deployments alone. AppConfig's data plane was rejected: while a change is handed out it answers for
        one application of many, and a document in which any flag has variants it serves in a binary form.
        """
        deployments = self._all("list_deployments", **self._environment)
        newest = next(deployments, None)
        if newest is None:
            raise LookupError("nothing is deployed in the environment")
        standing = (each for each in chain([newest], deployments) if self._stands(each))
        match [_version(each) for each in islice(standing, 2)]:
            case [version]:
                before = None
            case [version, before]:
                pass
            case _:
                raise LookupError(f"nothing of the configuration profile {self._profile} is deployed there")
        number, state = newest["DeploymentNumber"], newest["State"]  # every older one has ended
        return Rollout(
            version=version,
            arriving=state in ON_THE_WAY and newest["ConfigurationProfileId"] == self._profile,
            before=before,
            newest=number,
            under_way=number if state in {*ON_THE_WAY, BAKING} else None,
        )

    def document(self, version: int) -> str:
        """The document as that version has it."""
        answer = self._api.ask(SERVICE, "get_hosted_configuration_version", VersionNumber=version, **self._document)
        content = self._api.body(answer["Content"], LARGEST)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise LookupError(f"version {version} of the configuration is not UTF-8 text") from None

    def deploy(self, text: str, since: Rollout) -> None:
        """Make a version of this text and begin to hand it out.

        Raises:
            Conflict: another version or deployment was made since then, or is under way. A version that came to no
                deployment is left behind; nobody is given it.
        """
        versions = self._all("list_hosted_configuration_versions", **self._document)
        latest = max(each["VersionNumber"] for each in versions)
        with _conflicts("a version of the configuration"):
            made = self._api.once(
                SERVICE,
                "create_hosted_configuration_version",
                Content=text.encode(),
                ContentType="application/json",
                Description=self._api.label,
                LatestVersionNumber=latest,
                **self._document,
            )
        made["Content"].close()  # AWS sends it back; nobody reads it
        with _conflicts("a deployment to the environment"):
            self._api.once(
                SERVICE,
                "start_deployment",
                DeploymentStrategyId=self._strategy,
                ConfigurationProfileId=self._profile,
                ConfigurationVersion=str(made["VersionNumber"]),
                Description=self._api.label,
                LatestDeploymentNumber=since.newest,
                **self._environment,
            )

    def is_ours(self, rollout: Rollout) -> bool:
        """Whether the deployment under way was begun by the step that asks, in whichever attempt."""
        found = self._api.ask(SERVICE, "get_deployment", DeploymentNumber=rollout.under_way, **self._environment)
        own = without_attempt(self._api.label)
        return found["ConfigurationProfileId"] == self._profile and (
            without_attempt(found.get("Description", "")) == own
        )

    def stop(self, rollout: Rollout) -> None:
        """Take back the deployment under way."""
        number = rollout.under_way
        self._api.once(SERVICE, "stop_deployment", DeploymentNumber=number, AllowRevert=True, **self._environment)

    def _stands(self, deployment: dict[str, Any]) -> bool:
        """It is of this configuration, and was not taken back."""
        return deployment["ConfigurationProfileId"] == self._profile and deployment["State"] not in TAKEN_BACK

    def _all(self, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of all pages, as they are asked for."""
        while True:
            answer = self._api.ask(SERVICE, operation, **parameters)
            yield from answer["Items"]
            if not answer.get("NextToken"):
                return
            parameters["NextToken"] = answer["NextToken"]


@contextmanager
def _conflicts(what: str) -> Iterator[None]:
    """Says that somebody else was quicker in dr's words."""
    try:
        yield
    except Refused as error:
        if error.code == "ConflictException":
            raise Conflict(f"somebody else has made {what} meanwhile: {error}") from None
        raise


def _version(deployment: dict[str, Any]) -> int:
    """The version that a deployment hands out. Raises LookupError: it is not one that AppConfig itself hosts."""
    version = str(deployment["ConfigurationVersion"])
    if not version.isdecimal():
        raise LookupError(f"version {version!r} that is deployed is not one of AppConfig's own store")
    return int(version)
