"""What every FlagStore holds, wherever its flags stand."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.targets.appconfig_flags import AppConfigFlags
from dr.targets.catalogue import TARGET_TYPES
from dr.targets.flagd import FlagdFile
from dr.targets.protocols import Conflict, FlagState, TargetConfig, TargetUnreachable
from dr.targets.ssm_flags import SsmFlags
from dr.targets.unleash import Unleash
from localstack.instance import REGION
from tests.appconfig_world import APPLICATION, ENVIRONMENT, PROFILE, appconfig
from tests.here import Secrets, World, opened
from tests.localstack_fixture import set_credentials
from tests.unleash_world import memory

Call = Callable[[], object]
NOWHERE = "http://127.0.0.1:1"


class Site(msgspec.Struct, frozen=True):
    """A store with two flags, `search` and `reviews`, both on."""

    config: TargetConfig
    lost: TargetConfig
    """The same store, where it cannot be asked."""
    read: Callable[[], dict[str, bool]]
    """Both flags as somebody else sees them."""
    overtake: Call
    """Somebody else changes `search` after dr's look, to a third state; or, where there is none, what it stands in."""
    secrets: Secrets = Secrets({})


@contextmanager
def in_a_file(folder: Path, _: pytest.FixtureRequest) -> Iterator[Site]:
    path = folder / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}

    def put(default: str) -> None:
        flags = {"search": {**flag, "defaultVariant": default}, "reviews": flag}
        path.write_text(json.dumps({"flags": flags}))

    def read() -> dict[str, bool]:
        return {name: each["state"] == "ENABLED" for name, each in json.loads(path.read_text())["flags"].items()}

    put("on")
    yield Site(FlagdFile(path=str(path)), FlagdFile(path=str(folder / "none.json")), read, lambda: put("off"))


@contextmanager
def in_systems_manager(_: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    localstack = request.getfixturevalue("localstack")
    ssm, prefix = localstack.client("ssm"), f"/{uuid.uuid4().hex}/"

    def put(flag: str, variant: str = "on") -> None:
        value = json.dumps({"enabled": True, "variant": variant})
        ssm.put_parameter(Name=prefix + flag, Value=value, Type="String", Overwrite=True)

    def read() -> dict[str, bool]:
        texts = {flag: ssm.get_parameter(Name=prefix + flag)["Parameter"]["Value"] for flag in ("search", "reviews")}
        return {flag: json.loads(text)["enabled"] for flag, text in texts.items()}

    put("search")
    put("reviews")
    config = SsmFlags(region=REGION, endpoint=localstack.endpoint, prefix=prefix)
    lost = msgspec.structs.replace(config, endpoint=NOWHERE)
    yield Site(config, lost, read, lambda: put("search", "theirs"))


@contextmanager
def in_appconfig(_: Path, __: pytest.FixtureRequest) -> Iterator[Site]:
    values = {"search": {"enabled": True}, "reviews": {"enabled": True}}
    ids = {"application": APPLICATION, "environment": ENVIRONMENT, "configuration_profile": PROFILE}
    with appconfig({"version": "1", "flags": {}, "values": values}) as world:
        config = AppConfigFlags(region=REGION, endpoint=world.endpoint, strategy="atonce", **ids)

        def overtake() -> None:
            world.meanwhile["create"] = lambda: world.deploy(world.put({"values": values}))

        lost = msgspec.structs.replace(config, endpoint=NOWHERE)
        served: Callable[[], dict[str, Any]] = world.served
        yield Site(config, lost, lambda: {flag: each["enabled"] for flag, each in served().items()}, overtake)


@contextmanager
def in_unleash(_: Path, __: pytest.FixtureRequest) -> Iterator[Site]:
    with memory() as (server, _world):
        features = "/api/admin/projects/default/features"
        for flag in ("search", "reviews"):
            server.ask("POST", features, {"name": flag})
            server.ask("POST", f"{features}/{flag}/environments/production/on")

        def read() -> dict[str, bool]:
            seen = {flag: json.loads(server.ask("GET", f"{features}/{flag}")) for flag in ("search", "reviews")}
            return {flag: each["environments"][1]["enabled"] for flag, each in seen.items()}

        config = Unleash(url=server.url, token="env:TOKEN", environment="production")
        lost = msgspec.structs.replace(config, url=NOWHERE)
        yield Site(config, lost, read, pytest.fail, Secrets({"env:TOKEN": server.token}))


UNFENCED = {"unleash"}
"""A flag is on or off there, and nothing tells two changes apart."""
SITES = {
    "flagd-file": in_a_file,
    "ssm-flags": in_systems_manager,
    "appconfig-flags": in_appconfig,
    "unleash": in_unleash,
}


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    set_credentials(monkeypatch)
    with SITES[request.param](tmp_path, request) as running:
        yield running


def off(state: FlagState) -> FlagState:
    return msgspec.structs.replace(state, enabled=False)


def test_every_store_of_flags_is_held_to_this() -> None:
    assert SITES.keys() == {name for name, kind in TARGET_TYPES.items() if "FlagStore" in kind.speaks}


def test_a_flag_is_disabled_seen_enabled_and_undone_and_the_others_are_left_alone(site: Site) -> None:
    disable, enable = FeatureDisable(store="flags", flag="search"), FeatureEnable(store="flags", flag="search")
    with World({"flags": site.config}, site.secrets.values).act() as here:
        before = disable.observe(here)
        assert isinstance(before, NotInPlace)
        for _ in range(2):
            disable.apply(here)
            assert isinstance(disable.observe(here), InPlace)
            assert site.read() == {"search": False, "reviews": True}
        for _ in range(2):
            disable.undo(here, before.evidence)
            assert disable.observe_undone(here, before.evidence) == InPlace(before.evidence)
            assert site.read() == {"search": True, "reviews": True}
        assert isinstance(enable.observe(here), InPlace)


@pytest.mark.parametrize("site", [name for name in SITES if name not in UNFENCED], indirect=True)
def test_a_change_by_somebody_else_is_a_conflict_and_stays(site: Site) -> None:
    with opened(site.config, secrets=site.secrets) as store:
        seen = store.read("search")
        site.overtake()
        with pytest.raises(Conflict, match="somebody else"):
            store.write("search", off(seen), expected=seen)
    assert site.read() == {"search": True, "reviews": True}


def test_what_somebody_else_has_done_already_is_not_done_again(site: Site) -> None:
    with opened(site.config, secrets=site.secrets) as ours, opened(site.config, secrets=site.secrets) as theirs:
        seen = ours.read("search")
        theirs.write("search", off(seen), expected=seen)
        assert ours.write("search", off(seen), expected=seen).enabled is False


def test_a_flag_that_does_not_exist_is_no_flag_that_is_off(site: Site) -> None:
    on = FlagState(enabled=True, variant="")
    with opened(site.config, secrets=site.secrets) as store:
        calls: tuple[Call, ...] = (lambda: store.read("serch"), lambda: store.write("serch", off(on), expected=on))
        for call in calls:
            with pytest.raises(LookupError, match=r"\bno (flag|feature|parameter)\b.*serch"):
                call()
    assert site.read() == {"search": True, "reviews": True}


def test_a_store_that_cannot_be_asked_says_nothing_about_the_flag(site: Site) -> None:
    """Safety rule 3."""
    on = FlagState(enabled=True, variant="")
    with opened(site.lost, secrets=site.secrets, timeout=5) as store:
        calls: tuple[Call, ...] = (
            store.ping,
            lambda: store.read("search"),
            lambda: store.write("search", off(on), expected=on),
        )
        for call in calls:
            with pytest.raises(TargetUnreachable):
                call()
