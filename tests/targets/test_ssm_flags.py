"""Flags that a real Systems Manager (LocalStack's) keeps, changed by the same steps as flags in a file."""

import uuid
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.feature_flag import FeatureDisable
from dr.targets.protocols import Conflict, FlagState
from dr.targets.ssm_flags import SsmFlags
from localstack.instance import REGION, LocalStack
from tests.here import World, opened

pytestmark = pytest.mark.usefixtures("aws_credentials")


class Flag:
    """One flag in a folder of its own."""

    def __init__(self, localstack: LocalStack) -> None:
        self._ssm = localstack.client("ssm")
        prefix = f"/shop/{uuid.uuid4().hex}/"
        self._name = f"{prefix}search"
        self.config = SsmFlags(region=REGION, endpoint=localstack.endpoint, prefix=prefix)

    def put(self, text: str, kind: str = "String") -> None:
        self._ssm.put_parameter(Name=self._name, Value=text, Type=kind, Overwrite=True)

    @property
    def text(self) -> str:
        value: str = self._ssm.get_parameter(Name=self._name)["Parameter"]["Value"]
        return value


@pytest.fixture
def flag(localstack: LocalStack) -> Flag:
    return Flag(localstack)


@pytest.mark.parametrize(
    "on, off",
    [
        ("on", "off"),
        ("True", "False"),
        ("ENABLED", "DISABLED"),
        ('{"owner": "web", "enabled": true}', '{"owner": "web", "enabled": false}'),
    ],
)
def test_a_flag_is_disabled_seen_and_undone_in_its_own_spelling(flag: Flag, on: str, off: str) -> None:
    flag.put(on)
    step, world = FeatureDisable(store="flags", flag="search"), World({"flags": flag.config})
    with world.look() as here:
        assert step.observe(here) == NotInPlace({"enabled": True, "variant": ""})
    with world.act() as here:
        step.apply(here)
        assert step.observe(here) == InPlace({"enabled": False, "variant": ""})
        assert flag.text == off
        step.undo(here, {"enabled": True, "variant": ""})
        assert isinstance(step.observe_undone(here, {"enabled": True, "variant": ""}), InPlace)
    assert flag.text == on


def test_a_variant_is_served_where_the_flag_has_one(flag: Flag) -> None:
    flag.put('{"enabled": true, "variant": "new"}')
    world = World({"flags": flag.config})
    with world.act() as here:
        FeatureDisable(store="flags", flag="search", variant="old").apply(here)
    assert flag.text == '{"enabled": true, "variant": "old"}'


def test_a_variant_that_was_not_there_is_taken_away_again(flag: Flag) -> None:
    flag.put('{"enabled": true}')
    step = FeatureDisable(store="flags", flag="search", variant="old")
    with World({"flags": flag.config}).act() as here:
        step.apply(here)
        step.undo(here, {"enabled": True, "variant": ""})
        assert isinstance(step.observe_undone(here, {"enabled": True, "variant": ""}), InPlace)


def test_a_word_has_no_variant(flag: Flag) -> None:
    flag.put("on")
    with World({"flags": flag.config}).act() as here, pytest.raises(LookupError, match="has no variant 'old'"):
        FeatureDisable(store="flags", flag="search", variant="old").apply(here)
    assert flag.text == "on"


def test_a_change_by_somebody_else_is_a_conflict(flag: Flag) -> None:
    flag.put('{"enabled": true, "variant": "theirs"}')
    off, ours = FlagState(enabled=False, variant="ours"), FlagState(enabled=True, variant="ours")
    with opened(flag.config) as store, pytest.raises(Conflict, match="by somebody else"):
        store.write("search", off, expected=ours)


def test_what_is_no_flag_is_told(flag: Flag) -> None:
    with opened(flag.config) as store:
        store.ping()
        with pytest.raises(LookupError, match="there is no parameter"):
            store.read("search")
        for text, kind in (("perhaps", "String"), ('{"on": 1}', "String"), ("on", "SecureString")):
            fresh = f"f{uuid.uuid4().hex}"
            flag._ssm.put_parameter(Name=store._name(fresh), Value=text, Type=kind)
            with pytest.raises(LookupError, match=r"holds no flag|no flag"):
                store.read(fresh)


@pytest.mark.parametrize("prefix", ["shop/", "/shop", ""])
def test_a_prefix_is_a_folder(prefix: str) -> None:
    wrong: dict[str, Any] = {"type": "ssm-flags", "region": "eu-central-1", "prefix": prefix}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, SsmFlags)
