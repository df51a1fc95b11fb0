"""The steps of a run over time. Each bar carries its word where there is room, and the right column says all of it."""

from collections.abc import Iterator, Sequence

from dr.core.plan import STEADY_STATE
from dr.report.axis import Axis, span
from dr.report.drawing import CHARACTER, LEFT, RIGHT, WIDTH, flags, grid, key, svg, text
from dr.report.markup import Html, element
from dr.report.phases import Doing, Gap, Phase
from dr.report.timeline import Ending, Lane, Measured, Timeline

ROW, BAR, SCALE = 34.0, 16.0, 22.0
THINNEST = 2.0
MOST_LANES = 60
MOST_FLAGS = 12

SIGNS: dict[Ending, str] = {
    "not reached": "·", "unfinished": "…", "in doubt": "?", "done": "✔", "in place": "✔", "ruled done": "✔",
    "skipped": "»", "failed": "✘", "undone": "↩", "undo failed": "✘", "ruled undone": "↩", "left applied": "»",
    "held": "✔", "did not hold": "✘",
}  # fmt: skip
SMOOTH = {"done", "in place", "skipped", "held", "not reached"}
WORDS: dict[Doing, str] = {
    "look": "looking", "apply": "applying", "wait": "waiting to try again", "doubt": "in doubt", "undo": "undoing",
    "hold": "watching the steady state",
}  # fmt: skip
GAPS = {"asked": "question open", "stopped": "stopped", "lost": "process gone"}


def worth_drawing(lanes: Sequence[Lane]) -> tuple[Lane, ...]:
    """As many lanes as fit a page: what did not go smoothly first, then what took longest; in the order of the plan."""
    if len(lanes) <= MOST_LANES:
        return tuple(lanes)

    def worth(lane: Lane) -> tuple[bool, float]:
        rough = lane.ending not in SMOOTH or any(phase.doing in {"wait", "doubt", "undo"} for phase in lane.phases)
        return rough or lane.step == STEADY_STATE, sum(phase.seconds for phase in lane.phases)

    chosen = {lane.step for lane in sorted(lanes, key=worth, reverse=True)[:MOST_LANES]}
    return tuple(lane for lane in lanes if lane.step in chosen)


def gantt(lanes: Sequence[Lane], run: Timeline, time: Axis) -> Html:
    """A row for each lane: what was done when."""
    tall = SCALE + ROW * len(lanes)
    moments, above = flags(_moments(run.measured, run.gaps), time, tall)
    top = above + SCALE
    return svg(
        f"Gantt chart of {len(lanes)} steps; the table below says the same in words",
        above + tall + 6,
        *(_band(gap, time, top, above + tall) for gap in run.gaps),
        *moments,
        *grid(time, run.measured.since, top, above + tall),
        *(_row(lane, time, run.measured.since, top + ROW * number) for number, lane in enumerate(lanes)),
    )


def legend() -> Html:
    """The kinds of bars with their words."""
    return element(
        "p", *(key(doing, words) for doing, words in WORDS.items()), key("gap", "nobody at work"), class_="legend"
    )


def _moments(measured: Measured, gaps: Sequence[Gap]) -> Iterator[tuple[float, str]]:
    if measured.detected is not None:
        yield measured.detected, "detected"
    yield measured.started, "run started"
    if measured.well is not None:
        yield measured.well, "steady state held"
    for gap in sorted(gaps, key=lambda gap: gap.start - gap.end)[:MOST_FLAGS]:
        yield gap.start, f"{GAPS[gap.why]} {span(gap.end - gap.start)}"


def _band(gap: Gap, time: Axis, top: float, bottom: float) -> Html:
    left, right = time.x(gap.start), time.x(gap.end)
    return element("rect", x=left, y=top, width=max(THINNEST, right - left), height=bottom - top, class_="gap")


def _row(lane: Lane, time: Axis, zero: float, top: float) -> Html:
    middle = top + ROW / 2
    drawn = [phase for phase in lane.phases if phase.seconds > 0 or phase.doing in {"apply", "undo"}]
    return element(
        "g",
        element("line", x1=0, x2=WIDTH, y1=top + ROW, y2=top + ROW, class_="rule"),
        text(0, middle + 4, lane.step, "name", LEFT - 12),
        *(_bar(phase, time, zero, middle - BAR / 2) for phase in drawn),
        text(RIGHT, middle - 2, _told(lane), f"told {_tone(lane.ending)}", WIDTH - RIGHT),
        text(RIGHT, middle + 11, _totals(drawn), "totals", WIDTH - RIGHT),
        class_="idle" if lane.ending == "not reached" else None,
    )


def _bar(phase: Phase, time: Axis, zero: float, top: float) -> Html:
    left = time.x(phase.start)
    wide = max(THINNEST, time.x(phase.end) - left)
    word = phase.doing if phase.attempt <= 1 else f"{phase.doing} #{phase.attempt}"
    whole = f"{word}: {span(phase.seconds)}, from {span(phase.start - zero)} on"
    bar = element("rect", element("title", whole), x=left, y=top, width=wide, height=BAR, rx=2, class_=phase.doing)
    fits = next((said for said in (f"{word} {span(phase.seconds)}", word) if len(said) * CHARACTER + 6 < wide), None)
    return bar if fits is None else element("g", bar, text(left + 4, top + BAR - 4.5, fits, f"on-{phase.doing}"))


def _told(lane: Lane) -> str:
    attempts = max((phase.attempt for phase in lane.phases if phase.doing in {"look", "apply"}), default=0)
    tried = f" · {attempts} attempts" if attempts > 1 else ""
    took = f" · {span(sum(phase.seconds for phase in lane.phases))}" if lane.phases else ""
    return f"{SIGNS[lane.ending]} {lane.ending}{tried}{took}"


def _tone(ending: Ending) -> str:
    return "good" if SIGNS[ending] == "✔" else "bad" if SIGNS[ending] in "✘?" else ""


def _totals(phases: Sequence[Phase]) -> str:
    """How long each thing was done, all its bars together."""
    sums: dict[Doing, float] = {}
    for phase in phases:
        sums[phase.doing] = sums.get(phase.doing, 0.0) + phase.seconds
    return " · ".join(f"{doing} {span(total)}" for doing, total in sums.items())
