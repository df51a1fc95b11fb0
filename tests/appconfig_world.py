"""AWS AppConfig as far as dr asks it: LocalStack without Docker has none, and moto deploys nothing.

It keeps AppConfig's rules (one deployment at a time in an environment, versions and deployments refused when they are
not the next, what a stop brings back), and fails the test itself when dr changes something without a fence.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.service import Answer, Asked, answering

APPLICATION, ENVIRONMENT, PROFILE, OTHER_PROFILE = "app1234", "env1234", "prof123", "prof999"
PAGE: Final = 2
GOES_ON: Final = {
    "atonce": ("COMPLETE",),
    "baking": ("BAKING",),
    "slowly1": (*["DEPLOYING"] * 3, "COMPLETE"),
    "stuck12": (),
}
"""By strategy: what becomes of a deployment from one look at it to the next."""
UNDER_WAY: Final = {"VALIDATING", "DEPLOYING", "BAKING", "ROLLING_BACK"}


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, json.dumps({"Message": message}).encode(), {"x-amzn-ErrorType": code})


class AppConfig:
    """One application with one environment and two profiles."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.versions: dict[str, list[str]] = {PROFILE: [], OTHER_PROFILE: []}
        self.deployments: list[dict[str, Any]] = []
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """What somebody else does just before a request of dr's is heard: `create` or `start`, once each."""
        self.lost: set[str] = set()
        """Requests that are heard, and whose answer is lost."""
        self.without_fence: list[str] = []

    def put(self, document: object, profile: str = PROFILE) -> int:
        """Somebody else makes a version; its number."""
        self.versions[profile].append(document if isinstance(document, str) else json.dumps(document))
        return len(self.versions[profile])

    def deploy(self, version: int, profile: str = PROFILE, strategy: str = "atonce", description: str = "") -> None:
        """Somebody else deploys a version; with the strategy `atonce` it is through at once."""
        self._start(profile, version, strategy, description)
        if strategy == "atonce":
            self._go_on()

    def served(self) -> dict[str, Any]:
        """The values that every application is given by now."""
        through = [each for each in self.deployments if each["ConfigurationProfileId"] == PROFILE]
        version = next(each for each in reversed(through) if each["State"] in {"COMPLETE", "BAKING"})
        values: dict[str, Any] = json.loads(self.versions[PROFILE][int(version["ConfigurationVersion"]) - 1])["values"]
        return values

    def serve(self, asked: Asked) -> Answer:
        where = urlsplit(asked.path)
        parts = where.path.strip("/").split("/")
        token = parse_qs(where.query).get("next_token", ["0"])[0]
        try:
            return self._answer(asked, parts[2:], int(token))
        except Refusal as refusal:
            return refusal.answer

    def _answer(self, asked: Asked, parts: list[str], token: int) -> Answer:
        match asked.method, parts:
            case "GET", ["environments", environment]:
                self._known(environment)
                return _json({"ApplicationId": APPLICATION, "Id": environment})
            case "GET", ["environments", environment, "deployments"]:
                self._known(environment)
                self._go_on()
                return _page(self.deployments[::-1], token)
            case "POST", ["environments", environment, "deployments"]:
                self._known(environment)
                return self._heard("start", lambda: self._begin(json.loads(asked.body)))
            case "GET", ["environments", _, "deployments", number]:
                return _json(self.deployments[int(number) - 1])
            case "DELETE", ["environments", _, "deployments", number]:
                return self._stop(int(number), revert=asked.headers.get("Allow-Revert") == "true")
            case "GET", ["configurationprofiles", profile, "hostedconfigurationversions"]:
                numbers = range(len(self._profile(profile)), 0, -1)
                return _page([{"VersionNumber": number} for number in numbers], token)
            case "POST", ["configurationprofiles", profile, "hostedconfigurationversions"]:
                return self._heard("create", lambda: self._create(profile, asked))
            case "GET", ["configurationprofiles", profile, "hostedconfigurationversions", number]:
                return Answer(
                    200,
                    self._profile(profile)[int(number) - 1].encode(errors="surrogateescape"),
                    {"Version-Number": number},
                )
        raise AssertionError(f"dr asks what this world does not know: {asked.method} {asked.path}")

    def _heard(self, request: str, handle: Callable[[], Answer]) -> Answer:
        self.meanwhile.pop(request, lambda: None)()
        answer = handle()
        return Answer(500) if request in self.lost else answer

    def _create(self, profile: str, asked: Asked) -> Answer:
        fence = asked.headers.get("Latest-Version-Number")
        if fence is None:
            self.without_fence.append("a version")
        elif int(fence) != len(self._profile(profile)):
            raise Refusal(409, "ConflictException", "the latest version is another one")
        number = self.put(asked.body.decode(), profile)
        return Answer(201, asked.body, {"Version-Number": str(number)})

    def _begin(self, asked: dict[str, Any]) -> Answer:
        fence = asked.get("LatestDeploymentNumber")
        if fence is None:
            self.without_fence.append("a deployment")
        elif fence != len(self.deployments):
            raise Refusal(409, "ConflictException", "the latest deployment is another one")
        profile, version = asked["ConfigurationProfileId"], int(asked["ConfigurationVersion"])
        return _json(self._start(profile, version, asked["DeploymentStrategyId"], asked["Description"]), 201)

    def _start(self, profile: str, version: int, strategy: str, description: str) -> dict[str, Any]:
        if self.deployments and self.deployments[-1]["State"] in UNDER_WAY:
            raise Refusal(409, "ConflictException", "a deployment is under way")
        if version > len(self._profile(profile)) or strategy not in GOES_ON:
            raise Refusal(404, "ResourceNotFoundException", "no such version or strategy")
        deployment = {
            "DeploymentNumber": len(self.deployments) + 1,
            "ConfigurationProfileId": profile,
            "ConfigurationVersion": str(version),
            "DeploymentStrategyId": strategy,
            "Description": description,
            "State": "DEPLOYING",
            "Ahead": [*GOES_ON[strategy]],
        }
        self.deployments.append(deployment)
        return deployment

    def _stop(self, number: int, *, revert: bool) -> Answer:
        deployment = self.deployments[number - 1]
        if not revert or deployment["State"] not in UNDER_WAY:
            raise Refusal(400, "BadRequestException", "it is not under way")
        deployment.update(State="ROLLING_BACK", Ahead=["ROLLING_BACK", "ROLLED_BACK"])
        return _json(deployment, 202)

    def _go_on(self) -> None:
        """Time passes from one look to the next."""
        if self.deployments and (ahead := self.deployments[-1]["Ahead"]):
            self.deployments[-1]["State"] = ahead.pop(0)

    def _known(self, environment: str) -> None:
        if environment != ENVIRONMENT:
            raise Refusal(404, "ResourceNotFoundException", "no such environment")

    def _profile(self, profile: str) -> list[str]:
        if profile not in self.versions:
            raise Refusal(404, "ResourceNotFoundException", "no such profile")
        return self.versions[profile]


@contextmanager
def appconfig(document: object) -> Iterator[AppConfig]:
    """The world, with this document deployed."""
    world = AppConfig()
    world.deploy(world.put(document))
    with answering(world.serve) as world.endpoint:
        yield world
    assert not world.without_fence, f"dr made {world.without_fence} without naming the one before"


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _page(items: list[dict[str, Any]], start: int) -> Answer:
    more = {"NextToken": str(start + PAGE)} if start + PAGE < len(items) else {}
    return _json({"Items": items[start : start + PAGE], **more})
