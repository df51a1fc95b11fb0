"""Against moto: LocalStack without Docker has no Auto Scaling. Its machines are in service at once."""

from typing import Any

import pytest

from dr.core.duration import Duration
from dr.core.step import InPlace, NotInPlace
from dr.steps.aws_autoscaling import AwsAutoscalingCapacity
from dr.targets.protocols import Conflict
from tests.here import World
from tests.moto_fixture import Group, Moto


@pytest.fixture
def group(moto: Moto) -> Group:
    return Group(moto)


def step(group: Group, at_least: int = 6, **more: Any) -> AwsAutoscalingCapacity:
    return AwsAutoscalingCapacity(
        **{"account": "cloud", "group": group.name, "at_least": at_least, "in_service_within": Duration(0.2), **more}
    )


BEFORE = {"min": 1, "max": 10, "desired": 2, "in_service": 2}


def test_capacity_is_there_before_the_load_and_goes_back_after_it(moto_cloud: World, group: Group) -> None:
    with moto_cloud.look() as here:
        assert step(group).observe(here) == NotInPlace(BEFORE)
    with moto_cloud.act() as here:
        after = {"min": 6, "max": 10, "desired": 6, "in_service": 6}
        assert step(group).apply(here) == {"before": BEFORE, "after": after}
        step(group).apply(here)
        assert step(group).observe(here) == InPlace(after)
        assert isinstance(step(group).observe_undone(here, BEFORE), NotInPlace)
        step(group).undo(here, BEFORE)
        step(group).undo(here, BEFORE)
        assert isinstance(step(group).observe_undone(here, BEFORE), InPlace)
    assert group.sizes == (1, 10, 2)


def test_a_larger_group_is_not_made_smaller(moto_cloud: World, group: Group) -> None:
    group.set(MinSize=8, DesiredCapacity=8)
    with moto_cloud.act() as here:
        assert isinstance(step(group).observe(here), InPlace)
        step(group).apply(here)
    assert group.sizes == (8, 10, 8)


def test_machines_that_are_not_healthy_do_not_count(moto_cloud: World, group: Group) -> None:
    with moto_cloud.act() as here:
        step(group).apply(here)
        group.sicken()
        seen = step(group).observe(here)
    assert isinstance(seen, NotInPlace)
    assert seen.evidence["findings"] == ["5 of 6 machines are in service"]


def test_a_maximum_is_raised_only_if_the_runbook_says_so(moto_cloud: World, group: Group) -> None:
    with moto_cloud.act() as here:
        with pytest.raises(LookupError, match="has a maximum of 10"):
            step(group, 12).apply(here)
        assert group.sizes == (1, 10, 2)
        step(group, 12, raise_maximum=True).apply(here)
        assert group.sizes == (12, 12, 12)
        step(group, 12, raise_maximum=True).undo(here, BEFORE)
    assert group.sizes == (1, 10, 2)


def test_an_undo_leaves_what_somebody_else_has_set_since(moto_cloud: World, group: Group) -> None:
    with moto_cloud.act() as here:
        step(group).apply(here)
        group.set(MinSize=7, DesiredCapacity=7)
        with pytest.raises(Conflict, match="its limits are 7 to 10"):
            step(group).undo(here, BEFORE)
    assert group.sizes == (7, 10, 7)


def test_an_undo_leaves_the_machines_that_a_policy_has_asked_for(moto_cloud: World, group: Group) -> None:
    with moto_cloud.act() as here:
        step(group).apply(here)
        group.set(DesiredCapacity=9)
        step(group).undo(here, BEFORE)
    assert group.sizes == (1, 10, 9)


def test_a_group_that_is_not_there_is_told(moto_cloud: World) -> None:
    with moto_cloud.look() as here, pytest.raises(LookupError, match="there is no Auto Scaling group 'none'"):
        AwsAutoscalingCapacity(account="cloud", group="none", at_least=1).preview(here)
