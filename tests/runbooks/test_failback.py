"""`failback` as an operator meets it, after a failover: checked, planned, refused, run, turned back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Watch, Writer, cluster
from tests.desk import BACK, FAIL, NEVER_RECEIVED, Desk
from tests.website import website

RUN = ("run", BACK, "--env", "test", "--yes")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with cluster() as servers, website() as shop:
        yield Desk(tmp_path, servers, shop, servers.first, servers.second)


def fail_over(desk: Desk) -> None:
    """The primary dies, its standby takes its place; the rest is put off."""
    desk.primary_dies()
    assert desk.dr(*desk.arguments(FAIL)).status == 5
    assert desk.dr("answer", "latest", "yes").status == 5
    put_off = desk.dr("answer", "latest", "skip", "--comment", "later")
    assert put_off.status == 0, put_off.out + put_off.err


def test_it_is_right_and_its_plan_says_where_everything_stands(desk: Desk) -> None:
    fail_over(desk)
    assert desk.dr("check", BACK, "--env", "test").status == 0
    plan = desk.dr("plan", BACK, "--env", "test", "--look")
    assert plan.status == 0, plan.err
    assert "db2: writable" in plan.out
    assert "Make db1 the primary in the place of db2" in plan.out
    assert not desk.primary.writable()


def test_what_nobody_received_is_not_discarded_unasked_and_then_the_original_primary_serves_again(
    desk: Desk,
) -> None:
    fail_over(desk)
    refused = desk.dr(*RUN)
    assert refused.status == 5, refused.out + refused.err
    assert "`diverged: rewind` discards that" in refused.out
    assert desk.dr("answer", "latest", "abort").status == 7
    with Watch(desk.servers) as watch, Writer(desk.servers) as client:
        done = desk.dr(*RUN, "-p", "diverged=rewind")
        assert done.status == 0, done.out + done.err
        client.goes_on()
    assert not client.errors
    assert not watch.two_writable
    assert desk.primary.writable()
    assert client.acknowledged <= desk.servers.ids(desk.primary)
    assert NEVER_RECEIVED not in desk.servers.ids(desk.primary)
    assert desk.standby.ask("select pg_is_in_recovery()")


def test_a_failback_is_turned_back_while_its_run_has_not_ended(desk: Desk) -> None:
    fail_over(desk)
    desk.shop.status = 500
    with Writer(desk.servers) as client:
        paused = desk.dr(*RUN, "-p", "diverged=rewind")
        assert paused.status == 5, paused.out + paused.err
        assert desk.primary.writable()
        desk.shop.status = 200
        undone = desk.dr("rollback", "latest")
        assert undone.status == 4, undone.out + undone.err
    assert not client.errors
    assert desk.standby.writable()
    assert client.acknowledged <= desk.servers.ids(desk.standby)
