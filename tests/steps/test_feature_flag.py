import json
from pathlib import Path
from typing import Any

import pytest

from dr.core.step import Evidence, InPlace, NotInPlace
from dr.steps.feature_flag import FeatureDisable, FeatureEnable
from dr.targets.flagd import FlagdFile
from dr.targets.protocols import Conflict
from tests.here import World


def flags_json(state: str = "ENABLED", default: str = "on", **more: object) -> str:
    flag = {"state": state, "variants": {"on": True, "off": False, "slow": True}, "defaultVariant": default, **more}
    return json.dumps({"flags": {"recommendations": flag, "other": flag}}, indent=2) + "\n"


ENABLED: Evidence = {"enabled": True, "variant": "on"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text(flags_json())
    return path


@pytest.fixture
def world(path: Path) -> World:
    return World({"flags": FlagdFile(path=str(path))})


def disable(**more: Any) -> FeatureDisable:
    return FeatureDisable(store="flags", flag="recommendations", **more)


def enable(**more: Any) -> FeatureEnable:
    return FeatureEnable(store="flags", flag="recommendations", **more)


def test_disabling_is_seen_and_undone_to_the_byte(world: World, path: Path) -> None:
    before = world.observe(disable())
    assert before == NotInPlace(ENABLED)
    claim = world.apply(disable())
    assert claim == {"before": ENABLED, "after": {"enabled": False, "variant": "on"}}
    assert world.observe(disable()) == InPlace({"enabled": False, "variant": "on"})
    with world.act() as here:
        assert isinstance(disable().observe_undone(here, ENABLED), NotInPlace)
        disable().undo(here, ENABLED)
        disable().undo(here, ENABLED)
        assert disable().observe_undone(here, ENABLED) == InPlace(ENABLED)
    assert path.read_text() == flags_json()


def test_a_variant_is_served_instead_of_switching_the_flag_off(world: World, path: Path) -> None:
    off = disable(variant="off")
    assert world.observe(off) == NotInPlace(ENABLED)
    world.apply(off)
    assert world.observe(off) == InPlace({"enabled": True, "variant": "off"})
    assert json.loads(path.read_text())["flags"]["recommendations"]["state"] == "ENABLED"


def test_enabling_with_a_variant_sets_both(world: World, path: Path) -> None:
    path.write_text(flags_json("DISABLED", "off"))
    world.apply(enable(variant="slow"))
    assert world.observe(enable()) == InPlace({"enabled": True, "variant": "slow"})
    assert world.observe(enable(variant="on")) == NotInPlace({"enabled": True, "variant": "slow"})


def test_applying_twice_is_harmless(world: World, path: Path) -> None:
    world.apply(disable())
    after = path.read_bytes()
    world.apply(disable())
    assert path.read_bytes() == after


def test_an_undo_does_not_overwrite_what_somebody_else_has_changed_since(world: World, path: Path) -> None:
    world.apply(disable())
    theirs = flags_json("DISABLED", "slow")
    path.write_text(theirs)
    with world.act() as here, pytest.raises(Conflict, match="changed by somebody else"):
        disable().undo(here, ENABLED)
    assert path.read_text() == theirs


def test_a_variant_that_targeting_overrules_is_never_in_place(world: World, path: Path) -> None:
    rules = {"if": [{"in": ["@example.com", {"var": "email"}]}, "on", "off"]}
    path.write_text(flags_json(default="off", targeting=rules))
    assert isinstance(world.observe(disable(variant="off")), NotInPlace)
    with pytest.raises(LookupError, match="has targeting rules; they decide before"):
        world.apply(disable(variant="off"))
    world.apply(disable())  # a flag that is off asks no rules
    assert isinstance(world.observe(disable()), InPlace)


def test_a_flag_that_does_not_exist_is_no_flag_that_is_off(world: World) -> None:
    with pytest.raises(LookupError, match="has no flag 'recommendation'"):
        world.observe(FeatureDisable(store="flags", flag="recommendation"))


def test_the_preview_is_the_flag_as_it_stands(world: World, path: Path) -> None:
    with world.look() as here:
        assert disable().preview(here) == ENABLED
    assert path.read_text() == flags_json()


def test_the_summary_says_what_users_will_get() -> None:
    assert disable().summary() == "Switch the feature 'recommendations' off in flags"
    assert disable(variant="off").summary() == (
        "Switch the feature 'recommendations' off in flags by serving 'off' to everyone"
    )
    assert enable(variant="on").summary() == "Switch the feature 'recommendations' on in flags, serving 'on'"
