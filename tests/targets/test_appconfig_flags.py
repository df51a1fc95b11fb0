"""Against `tests/appconfig_world.py`: no emulator hands configurations out."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps import feature_flag
from dr.steps.feature_flag import FeatureDisable
from dr.targets.appconfig_flags import AppConfigFlags
from dr.targets.protocols import Conflict, FlagState, TargetUnreachable
from localstack.instance import REGION
from tests.appconfig_world import APPLICATION, ENVIRONMENT, OTHER_PROFILE, PROFILE, AppConfig, appconfig
from tests.here import RUN, World, opened

DOCUMENT: dict[str, Any] = {
    "version": "1",
    "flags": {"search": {"name": "search"}, "reviews": {"name": "reviews"}, "tiers": {"name": "tiers"}},
    "values": {
        "search": {"enabled": True, "limit": 20, "_updatedAt": "2023-05-15T14:00:00Z"},
        "reviews": {"enabled": True},
        "tiers": {"_variants": [{"name": "gold", "enabled": True, "rule": "(eq $tier 'gold')"}]},
    },
}
ON, OFF = FlagState(enabled=True, variant=""), FlagState(enabled=False, variant="")
BEFORE = {"enabled": True, "variant": ""}

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.fixture
def store() -> Iterator[AppConfig]:
    with appconfig(DOCUMENT) as world:
        yield world


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_flag, "EVERY", 0.001)


def config(store: AppConfig, strategy: str = "atonce", **more: Any) -> AppConfigFlags:
    where = {"application": APPLICATION, "environment": ENVIRONMENT, "configuration_profile": PROFILE, **more}
    return AppConfigFlags(region=REGION, endpoint=store.endpoint, strategy=strategy, **where)


def world(store: AppConfig, strategy: str = "atonce") -> World:
    return World({"flags": config(store, strategy)})


STEP = FeatureDisable(store="flags", flag="search")


def without(document: dict[str, Any], flag: str) -> dict[str, Any]:
    """The document with that flag off."""
    values = {**document["values"], flag: {**document["values"][flag], "enabled": False}}
    return {**document, "values": values}


def test_a_change_is_one_word_of_the_document_and_so_is_the_way_back(store: AppConfig) -> None:
    with world(store).act() as here:
        STEP.apply(here)
        assert STEP.observe(here) == InPlace({"enabled": False, "variant": ""})
        STEP.undo(here, BEFORE)
        assert STEP.observe_undone(here, BEFORE) == InPlace(BEFORE)
    first, off, back = store.versions[PROFILE]
    assert off == first.replace('"enabled": true', '"enabled": false', 1)
    assert back == first
    assert [each["Description"] for each in store.deployments] == ["", f"dr:{RUN}:step:1", f"dr:{RUN}:step:1"]


def test_a_change_is_in_place_only_when_everyone_is_given_it(store: AppConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rule 2: that AppConfig began to hand it out is no proof."""
    with world(store, "slowly1").act() as here:
        STEP.apply(here)
        assert store.served()["search"]["enabled"]
        waiting: list[str] = []
        monkeypatch.setattr(here, "say", waiting.append)
        assert isinstance(STEP.observe(here), InPlace)
    assert not store.served()["search"]["enabled"]
    assert "search is disabled, and not everyone is given that yet" in waiting


def test_while_a_change_bakes_everyone_is_given_it_already(store: AppConfig) -> None:
    with world(store, "baking").act() as here:
        STEP.apply(here)
        assert isinstance(STEP.observe(here), InPlace)


@pytest.mark.parametrize("strategy", ["stuck12", "baking"])
def test_an_undo_stops_the_steps_own_deployment_that_is_not_through(store: AppConfig, strategy: str) -> None:
    with world(store, strategy).act() as here:
        STEP.apply(here)
        STEP.undo(here, BEFORE)
        STEP.undo(here, BEFORE)
        assert STEP.observe_undone(here, BEFORE) == InPlace(BEFORE)
    assert [each["State"] for each in store.deployments] == ["COMPLETE", "ROLLED_BACK"]
    assert store.served()["search"]["enabled"]


def test_an_undo_does_not_stop_the_deployment_of_somebody_else(store: AppConfig) -> None:
    store.deploy(store.put(without(DOCUMENT, "search")), strategy="stuck12", description="dr:another-run:step:1")
    with world(store).act() as here, pytest.raises(Conflict, match="deployment 2 is under way"):
        STEP.undo(here, BEFORE)
    assert store.deployments[-1]["State"] == "DEPLOYING"


def test_an_undo_keeps_what_others_have_deployed_since(store: AppConfig) -> None:
    with world(store).act() as here:
        STEP.apply(here)
        store.deploy(store.put(without(json.loads(store.versions[PROFILE][-1]), "reviews")))
        STEP.undo(here, BEFORE)
        STEP.observe_undone(here, BEFORE)
    assert (store.served()["search"]["enabled"], store.served()["reviews"]["enabled"]) == (True, False)


def test_a_draft_that_nobody_has_deployed_does_not_go_out_with_the_change(store: AppConfig) -> None:
    store.put(without(DOCUMENT, "reviews"))
    with world(store).act() as here:
        STEP.apply(here)
    assert store.served()["reviews"]["enabled"]


@pytest.mark.parametrize("moment", ["create", "start"])
def test_a_deployment_by_somebody_else_in_the_middle_is_a_conflict_and_theirs_stays(
    store: AppConfig, moment: str
) -> None:
    theirs = without(DOCUMENT, "reviews")
    store.meanwhile[moment] = lambda: store.deploy(store.put(theirs))
    with world(store).act() as here:
        with pytest.raises(Conflict, match="somebody else has made a"):
            STEP.apply(here)
        assert store.served() == theirs["values"]
        STEP.apply(here)
        assert isinstance(STEP.observe(here), InPlace)
    assert not store.served()["reviews"]["enabled"]


def test_an_older_version_deployed_again_in_the_middle_is_seen_by_the_deployments_own_number(store: AppConfig) -> None:
    store.deploy(store.put(without(DOCUMENT, "reviews")))
    store.meanwhile["start"] = lambda: store.deploy(1)
    with opened(config(store)) as flags, pytest.raises(Conflict, match="a deployment to the environment meanwhile"):
        flags.write("search", OFF, expected=ON)
    assert store.served() == DOCUMENT["values"]


@pytest.mark.parametrize("lost, in_place", [("create", False), ("start", True)])
def test_a_lost_answer_is_settled_by_looking(store: AppConfig, lost: str, *, in_place: bool) -> None:
    """Safety rules 2 and 3: heard, but the answer did not come."""
    store.lost = {lost}
    with world(store).act() as here:
        with pytest.raises(TargetUnreachable):
            STEP.apply(here)
        assert isinstance(STEP.observe(here), InPlace if in_place else NotInPlace)
        store.lost = set()
        STEP.apply(here)
        assert isinstance(STEP.observe(here), InPlace)
    assert len(store.deployments) == 2


def test_another_profiles_deployment_holds_the_environment_and_changes_no_flag(store: AppConfig) -> None:
    for _ in range(3):
        store.deploy(store.put("{}", OTHER_PROFILE), OTHER_PROFILE)
    store.deploy(1, OTHER_PROFILE, "stuck12")
    with opened(config(store)) as flags:
        assert flags.read("search") == ON
        with pytest.raises(Conflict, match="until it has ended, its bake time included"):
            flags.write("search", OFF, expected=ON)
    assert len(store.versions[PROFILE]) == 1


def test_what_was_rolled_back_does_not_count(store: AppConfig) -> None:
    store.deploy(store.put(without(DOCUMENT, "search")))
    for taken_back in ("ROLLED_BACK", "REVERTED"):
        store.deployments[-1]["State"] = taken_back
        with opened(config(store)) as flags:
            assert flags.read("search") == ON


def test_a_flag_with_variants_is_switched_by_nobody_but_its_owner(store: AppConfig) -> None:
    with opened(config(store)) as flags:
        with pytest.raises(LookupError, match="each is on or off by itself"):
            flags.write("tiers", OFF, expected=ON)
        with pytest.raises(LookupError, match="have no variants, so not 'old'"):
            flags.write("search", FlagState(enabled=True, variant="old"), expected=ON)
    assert len(store.versions[PROFILE]) == 1


@pytest.mark.parametrize(
    "document, error, said",
    [
        ("a=1", TargetUnreachable, "is not JSON: 1:1"),
        ("\udcff", LookupError, "is not UTF-8 text"),
        ("[]", TargetUnreachable, "not one of feature flags"),
        ('{"values": []}', TargetUnreachable, "not one of feature flags"),
        ('{"version": "1"}', LookupError, "no flag 'search', only none"),
        ('{"values": {"search": {"enabled": "yes"}}}', LookupError, "not as AppConfig defines it"),
    ],
)
def test_what_is_no_document_of_flags_is_told(
    store: AppConfig, document: str, error: type[Exception], said: str
) -> None:
    store.deploy(store.put(document))
    with opened(config(store)) as flags, pytest.raises(error, match=said):
        flags.read("search")


def test_what_does_not_come_from_appconfigs_own_store_is_told(store: AppConfig) -> None:
    store.deployments[-1]["ConfigurationVersion"] = "arn:of-a-pipeline"
    with opened(config(store)) as flags, pytest.raises(LookupError, match="is not one of AppConfig's own store"):
        flags.read("search")


def test_a_strategy_that_is_not_there_is_told_and_nobody_is_given_anything(store: AppConfig) -> None:
    with opened(config(store, "none123")) as flags, pytest.raises(LookupError, match="no such version or strategy"):
        flags.write("search", OFF, expected=ON)
    assert len(store.deployments) == 1


def test_where_nothing_is_deployed_no_flag_is_off(store: AppConfig) -> None:
    with (
        opened(config(store, configuration_profile=OTHER_PROFILE)) as flags,
        pytest.raises(LookupError, match="nothing of the conf"),
    ):
        flags.read("search")
    store.deployments.clear()
    with opened(config(store)) as flags, pytest.raises(LookupError, match="nothing is deployed"):
        flags.read("search")


def test_an_environment_that_is_not_there_is_told_before_the_run(store: AppConfig) -> None:
    with opened(config(store)) as flags:
        flags.ping()
    with opened(config(store, environment="none")) as flags, pytest.raises(LookupError, match="no such environment"):
        flags.ping()


@pytest.mark.parametrize(
    "field, wrong", [("application", "My shop"), ("strategy", "AppConfig."), ("configuration_profile", "")]
)
def test_the_parts_are_named_by_their_ids(field: str, wrong: str) -> None:
    ids = {
        "application": "app1234",
        "environment": "env1234",
        "configuration_profile": "prof123",
        "strategy": "AppConfig.AllAtOnce",
    }
    right = {"type": "appconfig-flags", "region": "eu-central-1", **ids}
    assert msgspec.convert(right, AppConfigFlags)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**right, field: wrong}, AppConfigFlags)
