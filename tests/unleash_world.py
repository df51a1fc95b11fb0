"""Unleash's Admin API as far as dr asks it; `tests/targets/test_unleash.py` holds it against the real server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.service import Answer, Asked, answering
from tests.unleash_server import ENVIRONMENTS, PROJECT, Running


class Memory:
    """One project with the environments that a new server has."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._flags: dict[str, dict[str, bool]] = {}
        self._archived: set[str] = set()
        self.answers: list[Answer] = []
        """To the next requests, which have no effect."""
        self.lost = 0
        """Answers of the next changes, which have their effect, that do not come."""

    def serve(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != self._token:
            return _error(401, "You must log in to use Unleash.")
        if self.answers:
            return self.answers.pop(0)
        parts = [unquote(part) for part in urlsplit(asked.path).path.split("/")[3:]]
        answer = self._answer(asked, parts)
        if self.lost and asked.method == "POST":
            self.lost -= 1
            return Answer(502)
        return answer

    def _answer(self, asked: Asked, parts: list[str]) -> Answer:
        match asked.method, parts:
            case "GET", ["environments", name]:
                return Answer(200, b"{}") if name in ENVIRONMENTS else _error(404, f"Could not find environment {name}")
            case "POST", ["projects", project, "features"] if project == PROJECT:
                self._flags[json.loads(asked.body)["name"]] = dict.fromkeys(ENVIRONMENTS, False)
                return Answer(201)
            case _, ["projects", project, "features", name, *rest]:
                if project != PROJECT or name not in self._flags:
                    return _error(404, f'There\'s no feature named "{name}" in project "{project}".')
                return self._about(asked.method, name, rest)
        raise AssertionError(f"dr asks what this world does not know: {asked.method} {asked.path}")

    def _about(self, method: str, name: str, rest: list[str]) -> Answer:
        flag, archived = self._flags[name], name in self._archived
        match method, rest:
            case "GET", [] if archived:
                return _error(404, f"Could not find feature flag with name {name}")
            case "GET", []:
                environments = [{"name": each, "enabled": enabled} for each, enabled in flag.items()]
                body = {"name": name, "environments": environments}
                return Answer(200, json.dumps(body).encode())
            case "DELETE", []:
                self._archived.add(name)
                return Answer(202)
            case "POST", ["environments", environment, ("on" | "off") as word]:
                if archived:
                    return _error(400, "Cannot perform this operation on archived features")
                if environment not in flag:
                    return _error(404, f"Could not find environment {environment} for feature: {name}")
                flag[environment] = word == "on"
                return Answer(200)
        raise AssertionError(f"dr asks what this world does not know: {method} {rest}")


@contextmanager
def memory() -> Iterator[tuple[Running, Memory]]:
    """The world, until the end."""
    world = Memory("*:*.in-memory")
    with answering(world.serve) as url:
        yield Running(url, "*:*.in-memory"), world


def _error(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"name": "Error", "message": message}).encode())
