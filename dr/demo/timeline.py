"""What happened when: the incident's own minutes, and this run's seconds as its journal tells them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dr.core import events as e
from dr.core.plan import Plan
from dr.core.timestamp import parse_iso
from dr.demo.traffic import Traffic
from dr.report.exhibit import Comparison

BIN = 0.5  # seconds of a column of a plot

DISABLE, TERMINATE, SHIFT = "feature.disable", "queries.terminate", "reads.shift"

# What is marked in a plot, in the order in which it happens.
RELEASED, ALARM, RECOVERED = "released", "alarm", "recovered"
DONE = {DISABLE: "disabled", TERMINATE: "queries ended", SHIFT: "reads moved"}


@dataclass(frozen=True)
class Observed:
    """What the journal does not know, because the demo did or saw it (Unix time)."""

    normal: float
    released: float
    detected: float
    over: float


@dataclass(frozen=True)
class Moments:
    """What the journal knows (Unix time): the steps' effects seen, and when ending the queries began."""

    disabled: float
    ending: float
    ended: float
    moved: float
    recovered: float


@dataclass(frozen=True)
class Phase:
    """A part of the demo, how its visitors fared, and what share of them is claimed to be affected."""

    name: str
    affected: int
    visitors: int
    at_least: float = 0.0
    below: float = 1.01

    @property
    def share(self) -> float:
        """Share of the visitors who were affected, 0 to 1."""
        return self.affected / self.visitors if self.visitors else 0.0

    @property
    def as_claimed(self) -> bool:
        """Whether it went as claimed; not if nobody came."""
        return self.visitors > 0 and self.at_least <= self.share < self.below


def moments(entries: Iterable[e.Entry], plan: Plan) -> Moments:
    """The moments of a run that has recovered. Raises KeyError if it did not get as far as one of them."""
    kinds = {step.id: step.kind for step in plan.steps()}
    began: dict[str, float] = {}
    done: dict[str, float] = {}
    for entry in entries:
        at = parse_iso(entry.at)
        match entry.event:
            case e.ApplyStarted(step=step):
                began.setdefault(kinds[step], at)
            case e.StepDone(step=step):
                done[kinds[step]] = at
            case e.HealthObserved(well=True):
                done[RECOVERED] = at
            case _:
                pass
    return Moments(done[DISABLE], began[TERMINATE], done[TERMINATE], done[SHIFT], done[RECOVERED])


def phases(traffic: Traffic, seen: Observed, at: Moments) -> tuple[Phase, Phase, Phase, Phase]:
    """How the visitors fared: before, in the outage, with the feature disabled and nothing else, and after."""
    return (
        Phase("before the release", *traffic.counted(seen.normal, seen.released), below=0.01),
        Phase("from the alarm on", *traffic.counted(seen.detected, at.disabled), at_least=0.8),
        Phase("feature disabled, nothing else", *traffic.counted(at.disabled, at.ending), at_least=0.8),
        Phase("reads moved, and after", *traffic.counted(at.moved, seen.over), below=0.01),
    )


def comparison(seen: Observed, at: Moments, alone: Phase, hold: str) -> Comparison:
    """The incident's minutes beside this run's seconds."""

    def after(moment: float) -> str:
        return f"{moment - seen.detected:.1f} s"

    return Comparison(
        title="Then and now",
        columns=("", "15 May 2023", "this run"),
        rows=(
            ("detected by the monitoring", "10:00 (0 min)", after(seen.detected)),
            ("faulty feature disabled", "10:30 (30 min)", after(at.disabled)),
            ("affected after that alone", "still slow", f"{alone.share:.0%} of the visitors"),
            ("its runaway queries ended", "", after(at.ended)),
            ("reads moved to the standby", "10:45 (45 min)", after(at.moved)),
            ("back to normal", "11:00 (60 min)", f"{after(at.recovered)} ({hold} of it watched)"),
        ),
        how="The incident's times are from its report, this run's from its journal. In 2023 it took until "
        "10:20 to find the faulty code; here the runbook is told which feature it is, and finding it is not "
        "measured.",
    )


def visits(phases: Iterable[Phase]) -> Comparison:
    """The phases as a table."""
    return Comparison(
        title="Visitors affected",
        columns=("", "claimed", "measured", "visitors"),
        rows=tuple(
            (
                phase.name,
                f"at least {phase.at_least:.0%}" if phase.at_least else f"less than {phase.below:.0%}",
                f"{phase.share:.1%}",
                f"{phase.affected} of {phase.visitors}",
            )
            for phase in phases
        ),
        how="A visitor is affected who gets an error, no answer, or one after more than a second.",
    )


def bins(traffic: Traffic, since: float, until: float) -> list[tuple[float, float]]:
    """(Unix time, share of the visitors affected) for each half second."""
    starts = [since + number * BIN for number in range(max(0, round((until - since) / BIN)))]
    return [(start, traffic.share(start, start + BIN)) for start in starts]


def marks(seen: Observed, at: Moments) -> Mapping[str, float]:
    """What a plot points at."""
    return {
        RELEASED: seen.released,
        ALARM: seen.detected,
        DONE[DISABLE]: at.disabled,
        DONE[TERMINATE]: at.ended,
        DONE[SHIFT]: at.moved,
        RECOVERED: at.recovered,
    }
