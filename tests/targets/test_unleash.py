"""The same claims of the small world that every test run has and, where `make unleash` was run, of the real server."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.targets.protocols import FlagState, TargetUnreachable
from dr.targets.unleash import Unleash
from tests.here import Secrets, World, opened
from tests.service import Answer
from tests.unleash_server import NODE, PROJECT, SERVER, Running, real
from tests.unleash_world import Memory, memory

ON, OFF = FlagState(enabled=True, variant=""), FlagState(enabled=False, variant="")
FEATURES = f"/api/admin/projects/{PROJECT}/features"


@pytest.fixture(
    scope="module",
    params=["memory", pytest.param("real", marks=pytest.mark.opt_in("make unleash, which needs Node 20"))],
)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param == "memory":
        with memory() as (running, _):
            yield running
    elif NODE is None or not SERVER.exists():
        pytest.skip("Unleash is not installed: make unleash, which needs Node 20")
    else:
        with real() as running:
            yield running


@pytest.fixture
def flag(server: Running) -> str:
    """A new flag, which is off everywhere."""
    name = f"search-{uuid.uuid4().hex}"
    server.ask("POST", FEATURES, {"name": name, "type": "release"})
    return name


def config(server: Running, **more: Any) -> Unleash:
    return Unleash(**{"url": server.url, "token": "env:TOKEN", "environment": "production", **more})


def secrets(server: Running) -> Secrets:
    return Secrets({"env:TOKEN": server.token})


def world(server: Running) -> World:
    return World({"flags": config(server)}, {"env:TOKEN": server.token})


def enabled(server: Running, flag: str) -> dict[str, bool]:
    """As an administrator sees it, by environment."""
    seen = json.loads(server.ask("GET", f"{FEATURES}/{flag}"))
    return {each["name"]: each["enabled"] for each in seen["environments"]}


def test_a_flag_is_switched_in_its_environment_alone_and_back(server: Running, flag: str) -> None:
    enable, disable = FeatureEnable(store="flags", flag=flag), FeatureDisable(store="flags", flag=flag)
    with world(server).act() as here:
        assert enable.observe(here) == NotInPlace({"enabled": False, "variant": ""})
        enable.apply(here)
        enable.apply(here)
        assert enable.observe(here) == InPlace({"enabled": True, "variant": ""})
        assert enabled(server, flag) == {"development": False, "production": True}
        disable.apply(here)
        assert isinstance(disable.observe(here), InPlace)
        assert enabled(server, flag) == {"development": False, "production": False}
        disable.undo(here, {"enabled": True, "variant": ""})
        assert isinstance(disable.observe_undone(here, {"enabled": True, "variant": ""}), InPlace)
    assert enabled(server, flag)["production"]


def test_an_archived_flag_is_no_flag_that_is_off(server: Running, flag: str) -> None:
    server.ask("DELETE", f"{FEATURES}/{flag}")
    with (
        opened(config(server), secrets=secrets(server)) as flags,
        pytest.raises(LookupError, match="Could not find feature"),
    ):
        flags.read(flag)


def test_what_is_not_there_is_told(server: Running, flag: str) -> None:
    with opened(config(server), secrets=secrets(server)) as flags:
        flags.ping()
        with pytest.raises(LookupError, match='no feature named "a/b c%2F"'):
            flags.read("a/b c%2F")
    elsewhere = config(server, project="none")
    with opened(elsewhere, secrets=secrets(server)) as flags, pytest.raises(LookupError, match="no feature named"):
        flags.read(flag)
    with opened(config(server, environment="nowhere"), secrets=secrets(server)) as flags:
        with pytest.raises(LookupError, match="answers 404"):
            flags.ping()
        with pytest.raises(LookupError, match="no environment 'nowhere', only 'development', 'production'"):
            flags.write(flag, ON, expected=OFF)


def test_a_token_that_is_not_good_says_nothing_about_the_flag_and_is_not_told(server: Running, flag: str) -> None:
    """Safety rules 3 and 13."""
    wrong = Secrets({"env:TOKEN": "*:*.not-the-token"})
    with opened(config(server), secrets=wrong) as flags:
        for call in (flags.ping, lambda: flags.read(flag), lambda: flags.write(flag, ON, expected=OFF)):
            with pytest.raises(TargetUnreachable, match="answers 401: You must log in") as refused:
                call()
            assert "not-the-token" not in str(refused.value)
    assert wrong.masked == {"*:*.not-the-token"}


def test_variants_are_left_to_unleash(server: Running, flag: str) -> None:
    with opened(config(server), secrets=secrets(server)) as flags, pytest.raises(LookupError, match="by weight"):
        flags.write(flag, FlagState(enabled=True, variant="blue"), expected=OFF)


@pytest.fixture
def faulty() -> Iterator[tuple[Running, Memory]]:
    """The world, for what a healthy server does not do."""
    with memory() as (running, world):
        running.ask("POST", FEATURES, {"name": "search"})
        yield running, world


def test_a_lost_answer_is_settled_by_looking(faulty: tuple[Running, Memory]) -> None:
    """Safety rules 2 and 3."""
    server, memory = faulty
    step = FeatureEnable(store="flags", flag="search")
    memory.lost = 1
    with world(server).act() as here:
        with pytest.raises(TargetUnreachable, match="answers 502"):
            step.apply(here)
        assert isinstance(step.observe(here), InPlace)


@pytest.mark.parametrize(
    "answer, said",
    [
        (Answer(200, b"<html>proxy</html>"), "not one of Unleash's Admin API"),
        (Answer(200, b'{"name": "search"}'), "not one of Unleash's Admin API"),
        (Answer(403, b'{"message": "Change requests are enabled"}'), "answers 403: Change requests are enabled"),
        (Answer(302, b""), "answers 302: without a word"),
    ],
)
def test_an_answer_that_does_not_tell_about_the_flag_is_doubt(
    faulty: tuple[Running, Memory], answer: Answer, said: str
) -> None:
    server, memory = faulty
    memory.answers = [answer]
    with opened(config(server), secrets=secrets(server)) as flags, pytest.raises(TargetUnreachable, match=said):
        flags.read("search")


def test_a_change_that_unleash_refuses_is_told_in_its_words(faulty: tuple[Running, Memory]) -> None:
    server, memory = faulty
    memory.answers = [Answer(400, b'{"message": "Cannot perform this operation"}')]
    with opened(config(server), secrets=secrets(server)) as flags, pytest.raises(LookupError, match="400: Cannot perf"):
        flags.read("search")


@pytest.mark.parametrize(
    "field, wrong",
    [("token", "*:*.plain"), ("url", "unleash.example"), ("url", "https://a:b@unleash.example"), ("environment", "")],
)
def test_a_configuration_holds_no_secret_and_a_whole_address(field: str, wrong: str) -> None:
    right = {"type": "unleash", "url": "https://unleash.example", "token": "env:TOKEN", "environment": "production"}
    assert msgspec.convert(right, Unleash)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**right, field: wrong}, Unleash)
