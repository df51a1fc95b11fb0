"""Against moto, taught by `tests/rds_world.py`: no emulator changes the roles of an Aurora global database."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dr.core.duration import Duration
from dr.core.step import InPlace, NotInPlace, Unknown
from dr.steps import aws_rds_global
from dr.steps.aws_rds_global import AwsRdsGlobalFailover, AwsRdsGlobalSwitchover
from dr.targets.cloud import NotReady, SourceMayWrite
from dr.targets.protocols import Conflict
from tests.here import World
from tests.moto_fixture import Moto
from tests.rds_world import GlobalDatabase, taught


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_rds_global, "EVERY", 0.01)


@pytest.fixture
def database(moto: Moto) -> Iterator[GlobalDatabase]:
    world = GlobalDatabase(moto)
    with taught(world):
        yield world


def switchover(database: GlobalDatabase, **more: Any) -> AwsRdsGlobalSwitchover:
    what = {"account": "cloud", "global_cluster": database.name, "to": database.reader, "within": Duration(30)}
    return AwsRdsGlobalSwitchover(**{**what, **more})


def failover(database: GlobalDatabase, **more: Any) -> AwsRdsGlobalFailover:
    what = {"account": "cloud", "global_cluster": database.name, "to": database.reader, "within": Duration(30)}
    return AwsRdsGlobalFailover(**{**what, **more})


def facts(database: GlobalDatabase, writer: str) -> dict[str, object]:
    return {"status": "available", "writer": writer, "members": [database.writer, database.reader]}


def test_another_region_writes_and_the_former_one_again(
    moto_cloud: World, database: GlobalDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way is asked for in the region that writes at that moment: elsewhere RDS refuses."""
    step = switchover(database)
    with moto_cloud.look() as here:
        before = step.observe(here)
    assert before == NotInPlace(facts(database, database.writer))
    with moto_cloud.act() as here:
        said: list[str] = []
        monkeypatch.setattr(here, "say", said.append)
        step.apply(here)
        assert step.observe(here) == InPlace(facts(database, database.reader))
        assert said == [
            f"{database.name} is failing-over, its writer {database.writer}",
            f"{database.name} is failing-over, its writer {database.reader}",
        ]
        step.apply(here)
        step.undo(here, before.evidence)
        assert isinstance(step.observe_undone(here, before.evidence), InPlace)
        step.undo(here, before.evidence)
        assert step.preview(here) == facts(database, database.writer)
    assert database.calls == ["switchover", "switchover"]


@pytest.mark.parametrize("fault, said", [("behind", "pending-resync"), ("upgrading", "is upgrading; it is switched")])
def test_a_switchover_refuses_before_it_touches_what_is_not_well(
    moto_cloud: World, database: GlobalDatabase, fault: str, said: str
) -> None:
    """Safety rule 9."""
    if fault == "behind":
        database.behind = {database.reader}
    else:
        database.kept.status = fault
    with moto_cloud.act() as here, pytest.raises(NotReady, match=said):
        switchover(database).apply(here)
    assert database.calls == []


def test_a_change_under_way_is_waited_for_and_no_second_one_begun(moto_cloud: World, database: GlobalDatabase) -> None:
    database.begin(database.reader)
    with moto_cloud.look() as here:
        for step in (switchover(database), failover(database, primary_is_fenced=True)):
            with pytest.raises(NotReady, match="already"):
                step.apply(here)
        assert isinstance(switchover(database).observe(here), InPlace)
    assert database.calls == []


def test_a_change_that_did_not_come_about_is_not_done(moto_cloud: World, database: GlobalDatabase) -> None:
    with moto_cloud.act() as here:
        assert isinstance(switchover(database, within=Duration(0.1)).observe(here), NotInPlace)


def test_a_change_that_does_not_end_in_time_is_in_doubt(moto_cloud: World, database: GlobalDatabase) -> None:
    with moto_cloud.act() as here, database.held():
        switchover(database).apply(here)
        seen = switchover(database, within=Duration(0.1)).observe(here)
    assert seen == Unknown(f"after 100ms, {database.name} is pending, its writer {database.writer}")


def test_an_undo_leaves_a_writer_that_somebody_else_has_chosen(moto_cloud: World, database: GlobalDatabase) -> None:
    elsewhere = {"writer": "arn:aws:rds:us-east-1:123456789012:cluster:third"}
    with moto_cloud.act() as here, pytest.raises(Conflict, match="the writer of"):
        switchover(database).undo(here, elsewhere)
    assert database.calls == []


def test_a_failover_is_refused_while_the_former_writer_may_take_writes(
    moto_cloud: World, database: GlobalDatabase
) -> None:
    """Safety rule 10."""
    with moto_cloud.act() as here, pytest.raises(SourceMayWrite, match="say `primary_is_fenced: true`"):
        failover(database).apply(here)
    assert database.calls == []


def test_a_failover_takes_what_there_is_whatever_has_become_of_the_other_region(
    moto_cloud: World, database: GlobalDatabase
) -> None:
    database.kept.status = "unavailable"
    database.behind = {database.reader}
    step = failover(database, primary_is_fenced=True)
    with moto_cloud.act() as here:
        step.apply(here)
        assert isinstance(step.observe(here), InPlace)
        step.apply(here)
    assert database.calls == ["failover"]


def test_only_a_member_can_become_the_writer(moto_cloud: World, database: GlobalDatabase) -> None:
    stranger = database.reader + "-not"
    with moto_cloud.act() as here, pytest.raises(LookupError, match="is no member of"):
        switchover(database, to=stranger).apply(here)
    with moto_cloud.look() as here, pytest.raises(LookupError, match="GlobalClusterNotFoundFault"):
        switchover(database, global_cluster="none").observe(here)


@pytest.mark.parametrize("to", ["shop-eu-west-1", "arn:aws:rds:eu-west-1:123456789012:db:shop"])
def test_the_cluster_is_named_by_its_arn(to: str) -> None:
    right = {"account": "cloud", "global_cluster": "shop", "to": "arn:aws:rds:eu-west-1:123456789012:cluster:shop"}
    assert msgspec.convert(right, AwsRdsGlobalFailover)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**right, "to": to}, AwsRdsGlobalFailover)
