from collections.abc import Iterator

import pytest

from dr.core.step import InPlace, NotInPlace, Observation, OutOfTime, Unknown
from dr.core.waiting import Seen, await_effect
from tests.here import TestHere, World

DONE = Seen(done=True, settled=True, facts={"it": "is done"}, words="done")
IDLE = Seen(done=False, settled=True, facts={"it": "is idle"}, words="idle")
BUSY = Seen(done=False, settled=False, facts={"it": "is busy"}, words="busy")


@pytest.fixture
def before() -> Iterator[TestHere]:
    with World({}).look() as here:
        yield here


@pytest.fixture
def after() -> Iterator[TestHere]:
    with World({}).act() as here:
        yield here


def wait(here: TestHere, *seen: Seen, within: float = 30.0, begins_within: float = 30.0) -> Observation:
    """What comes out of these looks; the last one is had again and again."""
    looks = iter(seen)
    return await_effect(here, lambda: next(looks, seen[-1]), within=within, every=0.001, begins_within=begins_within)


def test_what_is_done_is_not_waited_for(before: TestHere) -> None:
    assert wait(before, DONE) == InPlace({"it": "is done"})
    assert before.said == []


def test_nothing_that_was_not_asked_for_is_waited_for(before: TestHere) -> None:
    assert wait(before, IDLE, DONE) == NotInPlace({"it": "is idle"})


def test_what_is_under_way_is_waited_for_whoever_asked(before: TestHere) -> None:
    assert wait(before, BUSY, BUSY, DONE) == InPlace({"it": "is done"})
    assert before.said == ["busy", "busy"]


def test_what_was_asked_for_may_take_a_while_to_begin(after: TestHere) -> None:
    assert wait(after, IDLE, BUSY, DONE) == InPlace({"it": "is done"})
    assert wait(after, IDLE, begins_within=0.01) == NotInPlace({"it": "is idle"})


def test_it_is_not_waited_for_longer_than_was_said_and_what_is_under_way_then_is_in_doubt(after: TestHere) -> None:
    """Safety rule 3."""
    assert wait(after, IDLE, within=0.01) == NotInPlace({"it": "is idle"})
    assert wait(after, BUSY, within=0.01) == Unknown("after 10ms, busy")
    with World({}).act(timeout=0.01) as here, pytest.raises(OutOfTime):
        wait(here, BUSY)
