"""The state machine, as a table, and under any sequence of events."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core import events as e
from dr.core import state as s
from dr.core.decide import decide
from dr.core.plan import Plan
from dr.core.state import IllegalEvent, describe, evolve
from tests.simulated.plans import plan, step

PLAN = plan(
    (
        step("a"),
        step("c", on_failure="continue"),
        step("u", confirm="Sure?"),
        step("x", skip="ungraceful"),
        step("v", kind="blind-switch", observable=False),
    ),
    step("z"),
)
ALL: tuple[e.Choice, ...] = get_args(e.Choice)
ABOUT = e.Question(about="failed", step="a", text="?", choices=ALL)
APPLIED = (s.Applied("a", {"value": "off"}),)


def running(standing: s.Standing, of: str = "a", applied: tuple[s.Applied, ...] = ()) -> s.Running:
    """The first stage, with one step standing somewhere and the others at their beginning."""
    first = evolve(PLAN, s.NotStarted(), STARTED)
    assert isinstance(first, s.Running)
    at = "acuxv".index(of)
    return s.Running(0, (*first.steps[:at], standing, *first.steps[at + 1 :]), applied)


def paused(then: s.Running | s.RollingBack | s.Deviating, about: str = "a") -> s.Paused:
    return s.Paused(msgspec.structs.replace(ABOUT, step=about), then)


STARTED = e.RunStarted(plan="", runbook="", environment="", mode="graceful")
EVENTS: dict[str, e.Event] = {
    "run-started": STARTED,
    "run-resumed": e.RunResumed(),
    "run-stopped": e.RunStopped(because=""),
    "apply-started 1": e.ApplyStarted(step="a", attempt=1, before={"value": "off"}),
    "apply-started 2": e.ApplyStarted(step="a", attempt=2),
    "apply-returned 1": e.ApplyReturned(step="a", attempt=1),
    "apply-returned 2": e.ApplyReturned(step="a", attempt=2),
    "attempt-failed 1": e.AttemptFailed(step="a", attempt=1, error="", not_before="then"),
    "attempt-failed 2": e.AttemptFailed(step="a", attempt=2, error="", not_before="then"),
    "last-attempt-failed 1": e.AttemptFailed(step="a", attempt=1, error=""),
    "step-unseen 1": e.StepUnseen(step="a", attempt=1, why="", not_before="then"),
    "step-unseen 2": e.StepUnseen(step="a", attempt=2, why="", not_before="then"),
    "last-unseen 1": e.StepUnseen(step="a", attempt=1, why=""),
    "step-done 0": e.StepDone(step="a", attempt=0),
    "step-done 1": e.StepDone(step="a", attempt=1),
    "step-done 2": e.StepDone(step="a", attempt=2),
    "step-skipped": e.StepSkipped(step="a", comment=""),
    "step-skipped c": e.StepSkipped(step="c", comment=""),
    "step-skipped x": e.StepSkipped(step="x", comment=""),
    "rollback-started": e.RollbackStarted(because=""),
    "undo-started 1": e.UndoStarted(step="a", attempt=1),
    "undo-started 2": e.UndoStarted(step="a", attempt=2),
    "undo-returned 1": e.UndoReturned(step="a", attempt=1),
    "undo-returned 2": e.UndoReturned(step="a", attempt=2),
    "undo-failed 1": e.UndoFailed(step="a", attempt=1, error="", not_before="then"),
    "undo-failed 2": e.UndoFailed(step="a", attempt=2, error="", not_before="then"),
    "last-undo-failed 1": e.UndoFailed(step="a", attempt=1, error=""),
    "step-undone": e.StepUndone(step="a"),
    "step-undone z": e.StepUndone(step="z"),
    "paused": e.Paused(question=ABOUT),
    "paused z": e.Paused(question=msgspec.structs.replace(ABOUT, step="z")),
    "well": e.HealthObserved(well=True),
    "not well": e.HealthObserved(well=False, evidence={"findings": ["/: 503"]}),
    "ended well": e.RunEnded(finish="completed", service="well"),
    "ended deviated": e.RunEnded(finish="completed", service="deviated"),
    **{f"answered {choice}": e.OperatorAnswered(choice=choice) for choice in ALL},
}
RECORDS = "run-resumed, run-stopped"
ANYWAY = "step-skipped x, rollback-started"
"""What may follow all the time in the first stage of the plan."""
UNSEEN = "step-unseen 1, last-unseen 1"

# Where the run stands, and what may follow, besides the records: those follow everywhere between start and end.
SITUATIONS: list[tuple[str, s.State, str]] = [
    ("not started", s.NotStarted(), "run-started"),
    ("ready", running(s.Ready(1)),
        f"apply-started 1, attempt-failed 1, last-attempt-failed 1, step-done 0, {ANYWAY}"),
    ("ready again", running(s.Ready(2, "then"), applied=APPLIED),
        f"apply-started 2, attempt-failed 2, step-done 0, {ANYWAY}"),
    ("in doubt", running(s.InDoubt(1), applied=APPLIED),
        f"apply-returned 1, {UNSEEN}, attempt-failed 1, last-attempt-failed 1, step-done 1, {ANYWAY}"),
    ("doubted", running(s.Doubted(1, "?"), applied=APPLIED), f"paused, {ANYWAY}"),
    ("failed", running(s.Failed(1, "?"), applied=APPLIED), f"paused, {ANYWAY}"),
    ("failed and may be passed over", running(s.Failed(1, "?"), of="c"),
        f"apply-started 1, attempt-failed 1, last-attempt-failed 1, step-done 0, step-skipped c, {ANYWAY}"),
    ("finished", running(s.Finished(), applied=APPLIED), ANYWAY),
    ("ready to undo", s.RollingBack(APPLIED, s.Ready(1)), "undo-started 1"),
    ("undo in doubt", s.RollingBack(APPLIED, s.InDoubt(1)),
        "undo-returned 1, undo-failed 1, last-undo-failed 1, step-undone"),
    ("undo failed", s.RollingBack(APPLIED, s.Failed(1, "?")), "paused, paused z"),
    ("verifying", s.Verifying("completed", APPLIED), "well, not well, rollback-started"),
    ("verifying after a rollback", s.Verifying("rolled-back"), "well, not well"),
    ("deviating", s.Deviating("completed", APPLIED, {}), "paused, paused z, rollback-started"),
    ("deviating after a rollback", s.Deviating("rolled-back", (), {}), "paused, paused z"),
    ("about to end", s.Closing("completed", "well"), "ended well"),
    ("about to end deviated", s.Closing("completed", "deviated"), "ended deviated"),
    ("paused on a confirmation", paused(running(s.Unconfirmed(), of="u"), "u"),
        "answered yes, answered skip, answered rollback, answered abort"),
    ("paused on a failure", paused(running(s.Failed(1, "?"))),
        "answered retry, answered skip, answered rollback, answered abort"),
    ("paused on a doubt", paused(running(s.Doubted(1, "?"))),
        "answered retry, answered done, answered skip, answered rollback, answered abort"),
    ("paused on an undo", paused(s.RollingBack(APPLIED, s.Failed(1, "?"))),
        "answered retry, answered done, answered skip, answered abort"),
    ("paused on the steady state", paused(s.Deviating("completed", APPLIED, {})),
        "answered retry, answered rollback, answered accept, answered abort"),
    ("ended", s.Ended("completed", "well"), ""),
]  # fmt: skip


@pytest.mark.parametrize("name, state, legal", SITUATIONS, ids=[name for name, _, _ in SITUATIONS])
def test_exactly_what_the_table_says_may_follow(name: str, state: s.State, legal: str) -> None:
    records = "" if name in ("not started", "ended") else RECORDS
    expected = {word for word in f"{legal}, {records}".split(", ") if word}
    assert expected <= set(EVENTS)

    for event_name, event in EVENTS.items():
        if event_name in expected:
            evolve(PLAN, state, event)
        else:
            with pytest.raises(IllegalEvent):
                evolve(PLAN, state, event)


@pytest.mark.parametrize("name, state, legal", SITUATIONS, ids=[name for name, _, _ in SITUATIONS])
def test_what_only_records_changes_nothing(name: str, state: s.State, legal: str) -> None:
    del legal
    if name not in ("not started", "ended"):
        assert evolve(PLAN, state, e.RunResumed()) == evolve(PLAN, state, e.RunStopped(because="")) == state


# Where each event leads

JOURNEYS: list[tuple[s.State, str, s.State]] = [
    (running(s.Ready(1)), "apply-started 1", running(s.InDoubt(1), applied=APPLIED)),
    (running(s.Ready(2), applied=APPLIED), "apply-started 2", running(s.InDoubt(2), applied=APPLIED)),
    (running(s.Ready(2)), "apply-started 2", running(s.InDoubt(2), applied=(s.Applied("a", {}),))),
    (running(s.InDoubt(1)), "apply-returned 1", running(s.InDoubt(1))),
    (running(s.InDoubt(1, 1)), "step-unseen 1", running(s.InDoubt(1, 2, "then"))),
    (running(s.InDoubt(1)), "last-unseen 1", running(s.Doubted(1, ""))),
    (running(s.InDoubt(1)), "attempt-failed 1", running(s.Ready(2, "then"))),
    (running(s.InDoubt(1)), "last-attempt-failed 1", running(s.Failed(1, ""))),
    (running(s.Ready(1)), "attempt-failed 1", running(s.Ready(2, "then"))),
    (running(s.InDoubt(1)), "step-done 1", running(s.Finished())),
    (running(s.Ready(1)), "step-done 0", running(s.Finished())),
    (running(s.InDoubt(1), applied=APPLIED), "rollback-started", s.RollingBack(APPLIED, s.Ready(1))),
    (running(s.Ready(1)), "rollback-started", s.Verifying("rolled-back")),
    (s.RollingBack(APPLIED, s.Ready(1)), "undo-started 1", s.RollingBack(APPLIED, s.InDoubt(1))),
    (s.RollingBack(APPLIED, s.InDoubt(1)), "undo-returned 1", s.RollingBack(APPLIED, s.InDoubt(1))),
    (s.RollingBack(APPLIED, s.InDoubt(1)), "undo-failed 1", s.RollingBack(APPLIED, s.Ready(2, "then"))),
    (s.RollingBack(APPLIED, s.InDoubt(1)), "last-undo-failed 1", s.RollingBack(APPLIED, s.Failed(1, ""))),
    (s.RollingBack(APPLIED, s.InDoubt(1)), "step-undone", s.Verifying("rolled-back")),
    (s.RollingBack((*APPLIED, *APPLIED), s.InDoubt(1)), "step-undone", s.RollingBack(APPLIED, s.Ready(1))),
    (s.Verifying("completed", APPLIED), "well", s.Closing("completed", "well")),
    (s.Verifying("completed", APPLIED), "not well", s.Deviating("completed", APPLIED, {"findings": ["/: 503"]})),
    (s.Closing("completed", "well"), "ended well", s.Ended("completed", "well")),
    (paused(running(s.Unconfirmed(), of="u"), "u"), "answered yes", running(s.Ready(1), of="u")),
    (paused(running(s.Failed(3, "?"))), "answered retry", running(s.Ready(4))),
    (paused(running(s.Failed(3, "?"))), "answered skip", running(s.Finished())),
    (paused(running(s.Doubted(3, "?"))), "answered retry", running(s.InDoubt(3))),
    (paused(running(s.Doubted(3, "?"), of="v"), "v"), "answered retry", running(s.Ready(4), of="v")),
    (paused(running(s.Doubted(3, "?"))), "answered done", running(s.Finished())),
    (paused(running(s.Failed(3, "?"), applied=APPLIED)), "answered rollback", s.RollingBack(APPLIED, s.Ready(1))),
    (paused(running(s.Failed(3, "?"), applied=APPLIED)), "answered abort", s.Closing("aborted", "not-checked")),
    (paused(s.RollingBack(APPLIED, s.Failed(3, "?"))), "answered retry", s.RollingBack(APPLIED, s.Ready(4))),
    (paused(s.RollingBack(APPLIED, s.Failed(3, "?"))), "answered done", s.Verifying("rolled-back")),
    (paused(s.RollingBack(APPLIED, s.Failed(3, "?"))), "answered skip", s.Verifying("rolled-back")),
    (paused(s.Deviating("completed", APPLIED, {})), "answered retry", s.Verifying("completed", APPLIED)),
    (paused(s.Deviating("completed", APPLIED, {})), "answered accept", s.Closing("completed", "deviated")),
    (paused(s.Deviating("completed", APPLIED, {})), "answered rollback", s.RollingBack(APPLIED, s.Ready(1))),
]  # fmt: skip


@pytest.mark.parametrize("state, event, then", JOURNEYS)
def test_each_event_leads_where_the_table_says(state: s.State, event: str, then: s.State) -> None:
    assert evolve(PLAN, state, EVENTS[event]) == then


def test_a_stage_begins_when_the_one_before_is_finished_and_the_steady_state_is_verified_after_the_last() -> None:
    two = plan(step("a"), step("b", confirm="Sure?"))
    first = evolve(two, s.NotStarted(), STARTED)
    assert first == s.Running(0, (s.Ready(1),))

    second = evolve(two, first, e.StepDone(step="a", attempt=0))
    assert second == s.Running(1, (s.Unconfirmed(),))

    answered = evolve(two, s.Paused(msgspec.structs.replace(ABOUT, step="b"), second), e.OperatorAnswered(choice="yes"))
    assert evolve(two, answered, e.StepDone(step="b", attempt=0)) == s.Verifying("completed")


def test_without_a_steady_state_the_service_is_said_to_be_unchecked() -> None:
    """Safety rule 14: what was not looked at is not called well."""
    one = plan(step("a"), steady_state=None)
    assert evolve(one, s.Running(0, (s.Ready(1),)), e.StepDone(step="a", attempt=0)) == s.Closing(
        "completed", "not-checked"
    )


def test_only_what_can_be_undone_is_rolled_back() -> None:
    """Safety rule 5."""
    mixed = plan(step("a"), step("b", reversal="nothing-to-undo"), step("c"))
    applied = tuple(s.Applied(name, {}) for name in "abc")
    state = evolve(mixed, s.Verifying("completed", applied), e.RollbackStarted(because=""))
    assert state == s.RollingBack((applied[0], applied[2]), s.Ready(1))


def test_no_entry_rolls_a_run_back_past_the_point_of_no_return() -> None:
    """Safety rule 6. Not even one that was made up, or an answer that should not have been offered."""
    final = plan(step("a"), step("b", reversal="impossible"), step("c"))
    applied = tuple(s.Applied(name, {}) for name in "ab")
    stands: list[s.Running | s.Deviating] = [
        s.Running(2, (s.Failed(1, "?"),), applied),
        s.Deviating("completed", applied, {}),
    ]
    for state in [*stands, s.Verifying("completed", applied)]:
        with pytest.raises(IllegalEvent):
            evolve(final, state, e.RollbackStarted(because=""))
    for stood in stands:
        with pytest.raises(IllegalEvent):
            evolve(final, paused(stood, "c"), e.OperatorAnswered(choice="rollback"))


def test_an_answer_that_the_question_does_not_offer_is_refused() -> None:
    """Safety rule 12."""
    question = msgspec.structs.replace(ABOUT, choices=("retry",))
    state = s.Paused(question, running(s.Failed(1, "?")))
    evolve(PLAN, state, e.OperatorAnswered(choice="retry"))
    with pytest.raises(IllegalEvent):
        evolve(PLAN, state, e.OperatorAnswered(choice="skip"))


def test_the_refusal_says_what_cannot_follow_what() -> None:
    with pytest.raises(IllegalEvent, match=r"^step-done of a cannot follow: the run is rolling back$"):
        evolve(PLAN, s.RollingBack(APPLIED, s.Ready(1)), EVENTS["step-done 1"])
    with pytest.raises(IllegalEvent, match=r"^run-ended cannot follow: the run is ended \(completed, service well\)$"):
        evolve(PLAN, s.Ended("completed", "well"), EVENTS["ended well"])


@pytest.mark.parametrize(
    "state, words",
    [
        (s.NotStarted(), "not started"),
        (running(s.Ready(1)), "running stage 1"),
        (s.RollingBack(APPLIED, s.Ready(1)), "rolling back"),
        (s.Verifying("completed"), "verifying the steady state"),
        (s.Deviating("completed", (), {}), "verifying the steady state"),
        (s.Closing("completed", "well"), "about to end"),
        (paused(running(s.Failed(1, "?"))), "paused on a"),
        (s.Ended("aborted", "not-checked"), "ended (aborted, service not-checked)"),
    ],
)
def test_a_situation_is_told_in_words(state: s.State, words: str) -> None:
    assert describe(state) == words


# Any sequence of events

CLOSED = plan((step("a"), step("c", on_failure="continue")), step("u", confirm="Sure?"), step("x", skip="ungraceful"))
OPEN = plan((step("a"), step("v", kind="blind-switch", observable=False)), step("n", reversal="impossible"), step("z"))


def alphabet(any_plan: Plan) -> list[e.Event]:
    """Every event that could be made up about the plan's steps."""
    found: list[e.Event] = [event for event in EVENTS.values() if not hasattr(event, "step")]
    for name in [*(item.id for item in any_plan.steps()), "nobody"]:
        found += [msgspec.structs.replace(event, step=name) for event in EVENTS.values() if hasattr(event, "step")]
        found.append(e.Paused(question=msgspec.structs.replace(ABOUT, step=name)))
    finishes = [e.RunEnded(finish=f, service=v) for f in get_args(e.Finish) for v in get_args(e.Service)]
    return [*found, *finishes]


def follow(any_plan: Plan, state: s.State, event: e.Event) -> s.State | None:
    """The state after the event; None when it is illegal."""
    try:
        return evolve(any_plan, state, event)
    except IllegalEvent:
        return None


@pytest.mark.parametrize("any_plan", [CLOSED, OPEN])
@given(choices=st.lists(st.tuples(st.booleans(), st.integers(0, 10_000)), max_size=50))
def test_no_sequence_of_events_breaks_the_machine_or_a_rule(any_plan: Plan, choices: list[tuple[bool, int]]) -> None:
    """Safety rules 2, 5 and 6. Whatever is made up is refused as illegal, or leads to where a run can go on from."""
    letters = alphabet(any_plan)
    state: s.State = s.NotStarted()
    history: list[e.Event] = []
    for lawful, number in choices:
        legal = [event for event in letters if follow(any_plan, state, event) is not None] if lawful else []
        event = (legal or letters)[number % len(legal or letters)]
        before = msgspec.json.encode(state)
        after = follow(any_plan, state, event)
        assert msgspec.json.encode(state) == before, "an event never changes the state it is applied to"
        if after is not None:
            state = after
            history.append(event)
        assert bool(decide(any_plan, state)) == (not isinstance(state, s.NotStarted | s.Ended))
        check_rules(any_plan, state, history)


def check_rules(any_plan: Plan, state: s.State, history: list[e.Event]) -> None:
    started = {event.step for event in history if isinstance(event, e.ApplyStarted)}
    match state:
        case s.RollingBack(left=left):
            assert {item.step for item in left} <= started, "rule 5: undone without having been applied"
            final = {item.id for item in any_plan.steps() if item.reversal == "impossible"}
            assert not started & final, "rule 6: rolled back past the point of no return"
        case s.Running(stage=stage, steps=steps):
            for planned, stood in zip(any_plan.stages[stage], steps, strict=True):
                ends = e.StepDone | e.StepSkipped
                seen = any(isinstance(event, ends) and event.step == planned.id for event in history)
                ruled = any(isinstance(event, e.OperatorAnswered) for event in history)
                assert not isinstance(stood, s.Finished) or seen or ruled, "rule 2: ended without a look or a ruling"
        case _:
            pass
