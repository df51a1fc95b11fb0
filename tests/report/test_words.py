"""The words an operator reads: one line each, for every event and every state, and nothing that steers the terminal."""

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core import events as e
from dr.core import state as s
from dr.core.duration import Duration
from dr.core.plan import Plan, PlannedStep
from dr.core.runbook import Objectives
from dr.report.words import choice_lines, clock, facts, plan_lines, printable, sentence, standing

STEPS = tuple(PlannedStep(id=name, kind="note", summary=f"Note {name}") for name in ("a", "b", "c"))
PLAN = Plan(runbook="r", title="A title", environment="shop", mode="graceful", stages=((STEPS[0],), STEPS[1:]))
QUESTION = e.Question(about="failed", step="b", text="b failed", choices=("retry", "skip", "abort"))
EVENTS: dict[type[e.Event], tuple[e.Event, str]] = {
    type(event): (event, words)
    for event, words in (
        (
            e.RunStarted(plan="p", runbook="r", environment="shop", mode="graceful", reason="full"),
            "run of r on shop started, graceful: full",
        ),
        (
            e.RunResumed(host="h", torn_bytes=7),
            "run resumed on h; an unfinished entry of 7 bytes was set aside",
        ),
        (e.RunStopped(because="Ctrl-C"), "run stopped: Ctrl-C"),
        (e.ApplyStarted(step="a", attempt=2), "a: applying (attempt 2)"),
        (e.ApplyReturned(step="a", attempt=1, claim={"ended": 3}), "a: the target says: ended: 3"),
        (
            e.AttemptFailed(step="a", attempt=1, error="no", not_before="2023-05-15T14:00:05.300000Z"),
            "a: attempt 1 failed: no (again at 14:00:05.3)",
        ),
        (e.StepUnseen(step="a", attempt=1, why="silence"), "a: IN DOUBT, it cannot be seen: silence"),
        (e.StepDone(step="a", attempt=0, evidence={"on": False}), "a: done (nothing had to be changed): on: no"),
        (e.StepSkipped(step="a", comment="lost"), "a: skipped: lost"),
        (e.RollbackStarted(because="not it"), "rolling back: not it"),
        (e.UndoStarted(step="a", attempt=1), "a: undoing"),
        (e.UndoReturned(step="a", attempt=1, error="no"), "a: of the undo the target says: no"),
        (e.UndoFailed(step="a", attempt=2, error="no"), "a: undo 2 failed: no"),
        (e.StepUndone(step="a", evidence={"on": True}), "a: undone: on: yes"),
        (e.Paused(question=QUESTION), "paused: b failed"),
        (e.OperatorAnswered(choice="skip", comment="gone"), "the operator answered: skip (gone)"),
        (e.HealthObserved(well=False, evidence={"findings": ["503"]}), "the steady state DID NOT HOLD: findings: 503"),
        (e.CopyLate(copy="s3://m", why="no answer"), "the journal's mirror s3://m is left behind: no answer"),
        (e.HomeLeft(reason="no network"), "goes on WITHOUT THE JOURNAL'S HOME: no network"),
        (e.TakenOver(holder="pid 1 on h"), "taken over from pid 1 on h"),
        (
            e.CopyTrusted(copy="s3://h", entry=7, against=("the local copy", "s3://m")),
            "copies of the journal differed from entry 7 on; ruled right: s3://h, against the local copy, s3://m",
        ),
        (e.RunEnded(finish="completed", service="not-checked"), "run ended: completed; service not checked"),
    )
}


def test_there_is_a_sentence_for_every_event() -> None:
    assert set(EVENTS) == set(typing.get_args(e.Event))


@pytest.mark.parametrize("event, words", EVENTS.values(), ids=lambda value: type(value).__name__)
def test_an_event_is_told_in_words(event: e.Event, words: str) -> None:
    assert sentence(event) == words


@given(st.text())
def test_what_is_shown_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_evidence_is_told_in_one_bounded_line(value: object) -> None:
    told = sentence(e.StepDone(step="a", attempt=1, evidence={"seen": value}))
    assert told.isprintable()
    assert len(printable(facts({"seen": value}))) <= 6 * 200


def test_of_a_long_list_the_first_items_are_told() -> None:
    assert facts({"pids": [1, 2, 3, 4, 5]}) == "pids: 1; 2; 3; …"


def test_what_is_nested_without_end_is_told_to_some_depth() -> None:
    value: object = "bottom"
    for _ in range(900):
        value = {"in": value}
    assert facts({"seen": value}) == "seen: " + "{in: " * 8 + "…" + "}" * 8


def test_numbers_and_nothing_are_told_as_people_do() -> None:
    assert facts({"lost_at_most_seconds": 1834.25, "for": 0.8131}) == "lost_at_most_seconds: 1834, for: 0.813"
    assert facts({"in_place": [], "not_in_place": ["web1"]}) == "in_place: none, not_in_place: web1"


def test_the_clock_shows_tenths_of_a_second() -> None:
    assert clock("2023-05-15T14:00:05.345678Z") == "14:00:05.3"


@pytest.mark.parametrize("about", typing.get_args(e.About))
def test_every_choice_of_every_question_is_explained(about: e.About) -> None:
    choices = typing.get_args(e.Choice)
    lines = choice_lines(e.Question(about=about, step="a", text="?", choices=choices))
    assert [line.split()[0] for line in lines] == list(choices)
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_a_choice_means_what_the_question_is_about() -> None:
    def explained(about: e.About, choice: e.Choice) -> str:
        return choice_lines(e.Question(about=about, step="a", text="?", choices=(choice,)))[0]

    assert "undone" in explained("undo-failed", "done")
    assert "took effect" in explained("in-doubt", "done")
    assert "verify" in explained("steady-state", "retry")


@pytest.mark.parametrize(
    "state, words",
    [
        (s.NotStarted(), "not started"),
        (s.Running(0, (s.Ready(1),)), "0 of 3 steps finished"),
        (s.Running(1, (s.Finished(), s.InDoubt(1))), "2 of 3 steps finished, in doubt: c"),
        (
            s.Paused(QUESTION, s.Running(1, (s.Doubted(1, "?"), s.Finished()))),
            "paused on b, 2 of 3 steps finished, in doubt: b",
        ),
        (s.Ended("completed", "well"), "ended (completed, service well)"),
    ],
)
def test_where_a_run_stands_is_told_in_a_line(state: s.State, words: str) -> None:
    assert standing(PLAN, state) == words


def test_a_plan_shows_what_cannot_be_undone_and_what_cannot_be_seen() -> None:
    blind = PlannedStep(id="b", kind="x", summary="s", reversal="impossible", observable=False, confirm="Sure?")
    plan = msgspec.structs.replace(PLAN, stages=((STEPS[0],), (blind,)))
    lines = plan_lines(plan, "0" * 64)
    assert "---- point of no return: from here nothing is rolled back ----" in lines
    notes = next(line for line in lines if "CANNOT BE UNDONE" in line)
    assert "CANNOT BE OBSERVED: you will be asked whether it took effect" in notes
    assert "you are asked first" in notes
    assert lines.index("---- point of no return: from here nothing is rolled back ----") < lines.index("  2  b: s")


def test_a_plan_is_shown_without_control_characters() -> None:
    hostile = msgspec.structs.replace(PLAN, title="\x1b[2Jcleared\n  1  forged: a step")
    lines = plan_lines(hostile, "0" * 64)
    assert all(line.isprintable() for line in lines)
    assert lines[0] == r"\x1b[2Jcleared\n  1  forged: a step  (r)"


def test_an_objective_of_no_loss_at_all_is_shown() -> None:
    of = msgspec.structs.replace(PLAN, objectives=Objectives(rto=Duration(300), rpo=Duration(0)))
    assert "objectives: RTO 5m, RPO 0s" in plan_lines(of, "0" * 64)
