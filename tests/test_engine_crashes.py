"""kill -9 at any moment: the central claim, tried out at every point of several runs.

A point is: before each entry of an append is durable, after an append, before each look, before and after each effect,
each undo and each checkpoint, before each question. A run is killed there, a new process goes on from the durable
entries, and what came of it is the same as of a run that nobody killed. The referee judges every call on the way, and
that what is in doubt is looked at before anything else.
"""

from collections.abc import Mapping

import msgspec
import pytest

from dr.core import state as s
from dr.core.plan import Plan
from tests.simulated.plans import ONCE, plan, step
from tests.simulated.process import Policy, Simulation
from tests.simulated.site import Script


class Story(msgspec.Struct, frozen=True):
    """A run that is worth killing."""

    plan: Plan
    ends: s.Ended
    scripts: Mapping[str, Script] = {}
    policy: Policy = {}

    def simulate(self) -> Simulation:
        return Simulation(self.plan, dict(self.scripts), self.policy)


WELL = s.Ended("completed", "well")
UNCHECKED = s.Ended("completed", "not-checked")
DEVIATED = s.Ended("completed", "deviated")
ROLLED_BACK = s.Ended("rolled-back", "well")
ABORTED = s.Ended("aborted", "not-checked")

AB = plan(step("a"), step("b"))
PAUSING = plan(step("a"), step("b", retry=ONCE))
PASSING = plan(step("a"), step("b", retry=ONCE, on_failure="continue"))
RETREATING = plan(step("a"), step("b", retry=ONCE, on_failure="rollback"))
BLIND = step("a", kind="blind-switch", observable=False, reversal="impossible")
FAILS = Script(apply=["refuses"])
FAILS_THRICE = Script(apply=["refuses", "refuses", "refuses", "works"])

STORIES = {
    "one step": Story(plan(step("a")), WELL),
    "three steps": Story(plan(step("a"), step("b"), step("c")), WELL),
    "two steps side by side": Story(plan((step("a"), step("b")), steady_state=None), UNCHECKED),
    "one step and then two side by side": Story(plan(step("a"), (step("b"), step("c"))), WELL),
    "steps performed in place": Story(plan(step("a", targets=()), step("b", targets=()), steady_state=None), UNCHECKED),
    "in place already": Story(AB, WELL, {"a": Script(already=True)}),
    "skipped in an ungraceful run": Story(plan(step("a", skip="ungraceful"), step("b"), steady_state=None), UNCHECKED),
    "confirmed": Story(plan(step("a", confirm="Sure?")), WELL),
    "not confirmed": Story(plan(step("a", confirm="Sure?")), WELL, {}, {"confirm": ["skip"]}),
    "a rollback instead of a yes": Story(
        plan(step("a"), step("b", confirm="Sure?")), ROLLED_BACK, {}, {"confirm": ["rollback"]}
    ),
    "an error after the effect": Story(AB, WELL, {"a": Script(apply=["breaks-off"])}),
    "a success without effect": Story(AB, WELL, {"a": Script(apply=["lies", "works"])}),
    "an effect that comes late": Story(AB, WELL, {"a": Script(apply=["comes-late"])}),
    "a view that is blocked for a while": Story(AB, WELL, {"a": Script(look=["sees", "blind", "raises", "sees"])}),
    "never seen, ruled on": Story(plan(BLIND), WELL),
    "three attempts and a rollback": Story(
        plan(step("a"), step("b", on_failure="rollback")), ROLLED_BACK, {"b": FAILS}
    ),
    "rolled back by its runbook": Story(RETREATING, ROLLED_BACK, {"b": FAILS}),
    "rolled back side by side": Story(
        plan(step("a"), (step("b"), step("c", on_failure="rollback"))), ROLLED_BACK, {"c": FAILS}
    ),
    "a rollback that fails at first": Story(
        RETREATING, ROLLED_BACK, {"a": Script(undo=["lies", "breaks-off"]), "b": FAILS}
    ),
    "an undo that is ruled on": Story(
        plan(step("a", retry=ONCE), step("b", retry=ONCE, on_failure="rollback")),
        s.Ended("rolled-back", "deviated"),
        {"a": Script(undo=["refuses"]), "b": FAILS},
        {"undo-failed": ["skip"]},
    ),
    "failed and passed over": Story(PASSING, DEVIATED, {"b": FAILS}),
    "the operator retries": Story(AB, WELL, {"b": FAILS_THRICE}),
    "the operator skips": Story(PAUSING, DEVIATED, {"b": FAILS}, {"failed": ["skip"]}),
    "the operator rolls back": Story(PAUSING, ROLLED_BACK, {"b": FAILS}, {"failed:b": ["rollback"]}),
    "the operator aborts": Story(PAUSING, ABORTED, {"b": FAILS}, {"failed:b": ["abort"]}),
    "a point of no return": Story(
        plan(step("a", reversal="impossible"), step("b", retry=ONCE, on_failure="rollback")),
        ABORTED,
        {"b": FAILS},
        {"no-return": ["abort"]},
    ),
    "not well and rolled back": Story(PASSING, ROLLED_BACK, {"b": FAILS}, {"steady-state": ["rollback"]}),
}
KILLED_TWICE = [
    "one step",
    "two steps side by side",
    "confirmed",
    "an error after the effect",
    "never seen, ruled on",
    "rolled back by its runbook",
    "an undo that is ruled on",
    "the operator rolls back",
]


@pytest.mark.parametrize("name", STORIES)
def test_a_run_killed_at_any_point_ends_as_if_nobody_had_killed_it(name: str) -> None:
    """Safety rules 1 to 6 and 14."""
    story = STORIES[name]
    undisturbed = story.simulate()
    assert undisturbed.run() == story.ends

    for at, point in enumerate(undisturbed.points()):
        killed = story.simulate()
        killed.run(at)
        assert killed.outcome() == undisturbed.outcome(), f"killed {point}"


@pytest.mark.parametrize("name", KILLED_TWICE)
def test_a_run_killed_at_any_two_points_ends_as_if_nobody_had_killed_it(name: str) -> None:
    """Safety rules 1 to 6 and 14. The second process is killed at each of its own points."""
    story = STORIES[name]
    undisturbed = story.simulate()
    undisturbed.run()

    for first in range(len(undisturbed.points())):
        once = story.simulate()
        once.run(first)
        for second in range(len(once.points())):
            twice = story.simulate()
            twice.run(first, second)
            assert twice.outcome() == undisturbed.outcome(), f"killed at {first} and {second}"


def test_a_run_that_is_killed_again_and_again_at_the_same_place_still_ends() -> None:
    """Each process gets a little further, or at least asks."""
    undisturbed = STORIES["three steps"].simulate()
    undisturbed.run()
    for at in range(2, len(undisturbed.points())):
        killed = STORIES["three steps"].simulate()
        killed.run(*[at] * 40)
        assert killed.outcome() == undisturbed.outcome()


def test_a_step_that_may_be_attempted_once_is_not_attempted_again_by_itself_after_a_kill() -> None:
    """The kill came between the intent and the effect. Whether to try again is the operator's to say."""
    story = Story(plan(step("a", retry=ONCE)), WELL)
    undisturbed = story.simulate()
    undisturbed.run()
    killed = story.simulate()
    killed.run(undisturbed.points().index("before apply a"))

    assert [question.about for question in killed.operator.questions] == ["failed"]
    assert killed.outcome() == undisturbed.outcome()
