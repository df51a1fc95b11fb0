"""How a run came out, in words: did it finish, is the service well, how long did it take."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from dr.core import events as e
from dr.core import state as s
from dr.core.plan import STEADY_STATE
from dr.report.axis import span
from dr.report.timeline import Measured, Timeline


class Result(msgspec.Struct, frozen=True):
    """A question to the run and its answer; `good` is None where it is neither."""

    question: str
    answer: str
    detail: str
    good: bool | None


def headline(run: Timeline) -> str:
    """The outcome in one sentence."""
    return f"{_outcome(run.state, run.measured)}; {_objective(run.measured)}."


def results(run: Timeline) -> tuple[Result, ...]:
    """The two results of a run, its recovery time, and its recovery point where that was measured."""
    measured = run.measured
    point = (_lost(measured.lost_at_most, measured),) if measured.lost_at_most is not None else ()
    return _finished(run), _service(run), _recovery(measured), *point


def _outcome(state: s.State, measured: Measured) -> str:
    match state:
        case s.Ended(finish="completed", service="well"):
            assert measured.recovery_time is not None
            return f"Recovered in {took(measured, measured.recovery_time)}"
        case s.Ended(finish="completed", service="deviated"):
            return "Deviated: the steps were carried out, but the steady state did not hold"
        case s.Ended(finish="completed"):
            return f"Finished in {_lasted(measured)}; whether the service is well was not checked"
        case s.Ended(finish="rolled-back", service=service):
            return f"Rolled back in {_lasted(measured)}; {_SERVICE[service]}"
        case s.Ended():
            return f"Aborted after {_lasted(measured)}: what was applied stays applied"
        case s.Paused(question=question):
            return f"Not ended: it waits for an answer about {question.step}"
        case _:
            return f"Not ended: at its last entry it was {s.describe(state)}"


_SERVICE = {
    "well": "the steady state held",
    "deviated": "the steady state did not hold",
    "not-checked": "whether the service is well was not checked",
}


def _lasted(measured: Measured) -> str:
    return took(measured, measured.last - measured.started)


def took(measured: Measured, seconds: float) -> str:
    """How long it took by the clock: at least that long where the clock jumped back."""
    return f"at least {span(seconds)}" if measured.set_back else span(seconds)


def met(measured: Measured) -> str:
    """The word for whether the objective was met; empty where there is none, or no recovery."""
    if measured.rto is None or measured.recovery_time is None:
        return ""
    if measured.rto_met is None:
        return f"not known, the clock went back by {span(measured.set_back)}"
    # By how much: `1 m 00 s` may be a little more than `1m`.
    return "met" if measured.rto_met else f"MISSED by {took(measured, measured.recovery_time - measured.rto)}"


def _objective(measured: Measured) -> str:
    if measured.rto is None:
        return "no recovery time objective was set"
    if measured.recovery_time is None:
        return f"there is no recovery to hold against the objective of {measured.rto}"
    if measured.rto_met is None:
        return f"whether the recovery time objective of {measured.rto} was met is {met(measured)}"
    return f"the recovery time objective of {measured.rto} was {met(measured)}"


def _finished(run: Timeline) -> Result:
    answer, good = _finish(run.state)
    counts = Counter(lane.ending for lane in run.lanes if lane.step != STEADY_STATE)
    told = ", ".join(f"{count} {ending}" for ending, count in counts.items())
    return Result("Did it finish?", answer, told, good)


def _finish(state: s.State) -> tuple[str, bool | None]:
    match state:
        case s.Ended(finish="completed"):
            return "yes", True
        case s.Ended(finish="rolled-back"):
            return "rolled back", None
        case s.Ended():
            return "aborted", False
        case s.Paused():
            return "no: a question is open", False
        case _:
            return f"no: {s.describe(state)}", False


def _service(run: Timeline) -> Result:
    question = "Is the service well?"
    service: e.Service = run.state.service if isinstance(run.state, s.Ended) else "not-checked"
    match service:
        case "well":
            return Result(question, "yes", "the steady state held for its hold time", good=True)
        case "deviated":
            return Result(question, "no", "the steady state did not hold", good=False)
        case "not-checked":
            why = "no steady state was observed" if isinstance(run.state, s.Ended) else "not yet"
            return Result(question, "not checked", why, good=None)


def _recovery(measured: Measured) -> Result:
    question = "How long did recovery take?"
    objective = "no objective" if measured.rto is None else f"objective {measured.rto}"
    since = "the start of the run" if measured.detected is None else "detection"
    if measured.recovery_time is None:
        return Result(question, "no recovery was measured", objective, None if measured.rto is None else False)
    detail = f"from {since}; {objective}{': ' if measured.rto else ''}{met(measured)}"
    return Result(question, took(measured, measured.recovery_time), detail, measured.rto_met)


def _lost(seconds: float, measured: Measured) -> Result:
    detail = "no objective" if measured.rpo is None else f"objective {measured.rpo}: {_rpo_standing(measured)}"
    return Result("How much data was lost?", _of_writes(seconds), detail, measured.rpo_met)


def _of_writes(seconds: float) -> str:
    return f"at most {span(seconds)} of writes" if seconds else "none"


def actual(measured: Measured) -> Iterator[str]:
    """What was measured, beside its objectives: the time from detection until the steady state had held; the loss."""
    if measured.recovery_time is not None:
        since = "the start of the run" if measured.detected is None else "detection"
        goal = f"; objective {measured.rto}: {met(measured)}" if measured.rto is not None else ""
        yield f"actual recovery time: {took(measured, measured.recovery_time)} from {since}{goal}"
    if measured.lost_at_most is not None:
        goal = f"; objective {measured.rpo}: {_rpo_standing(measured)}" if measured.rpo is not None else ""
        lost = f"{_of_writes(measured.lost_at_most)} lost" if measured.lost_at_most else "no write lost"
        yield f"actual recovery point: {lost}{goal}"


def in_brief(measured: Measured) -> Iterator[str]:
    """The same for a list of runs."""
    if measured.recovery_time is not None:
        goal = f", RTO {measured.rto} {met(measured)}" if measured.rto is not None else ""
        yield f"recovery took {took(measured, measured.recovery_time)}{goal}"
    if measured.lost_at_most is not None:
        goal = f", RPO {measured.rpo} {_rpo_standing(measured)}" if measured.rpo is not None else ""
        yield f"data lost: {_of_writes(measured.lost_at_most)}{goal}"


def _rpo_standing(measured: Measured) -> str:
    """Whether the objective for the recovery point was met. What was measured is a bound, so it shows no miss."""
    return "met" if measured.rpo_met else "not shown to be met"
