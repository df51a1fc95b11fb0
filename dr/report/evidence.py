"""The evidence of each step in full: its entries, as they stand in the journal."""

from collections.abc import Iterable, Sequence

import msgspec

from dr.core import events as e
from dr.core.duration import encode_hook
from dr.core.plan import STEADY_STATE, Plan
from dr.report.gantt import SIGNS
from dr.report.markup import Html, element
from dr.report.timeline import Lane
from dr.report.words import clock, sentence

LONGEST = 8_000
"""Characters of one entry on the page."""
MOST = 1_500_000
"""Characters of all of them."""
EMPTY: tuple[object, ...] = ("", None, {})


def evidence(lanes: Sequence[Lane], plan: Plan, entries: Iterable[e.Entry]) -> list[Html]:
    """A fold-out for each lane that has entries. What does not fit the page is said, and stands in the journal."""
    found: dict[str, list[Html]] = {lane.step: [] for lane in lanes}
    room, left_out, asked = MOST, 0, ""
    for entry in entries:
        step = asked if isinstance(entry.event, e.OperatorAnswered) else step_of(entry.event)
        if isinstance(entry.event, e.Paused):
            asked = step
        if step not in found:
            continue
        if room <= 0:
            left_out += 1
            continue
        shown = _entry(entry)
        found[step].append(shown)
        room -= len(shown)
    titles = {step.id: step.title or step.summary for step in (*plan.steps(), plan.steady_state) if step is not None}
    folds = [_fold(lane, titles[lane.step], found[lane.step]) for lane in lanes if found[lane.step]]
    if left_out:
        more = f"{left_out:,} more entries of these steps are not shown here; they stand in the journal."
        folds.append(element("p", more, class_="cap"))
    return folds


def step_of(event: e.Event) -> str:
    """The step that the event tells of; empty for one of the whole run."""
    match event:
        case e.HealthObserved():
            return STEADY_STATE
        case e.Paused(question=question):
            return question.step
        case _:
            step: str = getattr(event, "step", "")
            return step


def _fold(lane: Lane, title: str, entries: list[Html]) -> Html:
    ending = element("span", f"{SIGNS[lane.ending]} {lane.ending}", class_="ending")
    return element("details", element("summary", element("code", lane.step), " ", title, " ", ending), *entries)


def _entry(entry: e.Entry) -> Html:
    """The entry's sentence, and whatever else it holds."""
    said = msgspec.to_builtins(entry.event, enc_hook=encode_hook)
    rest = {
        name: value for name, value in said.items() if name not in {"type", "step", "attempt"} and value not in EMPTY
    }
    held = msgspec.json.format(msgspec.json.encode(rest), indent=2).decode() if rest else ""
    if len(held) > LONGEST:
        held = f"{held[:LONGEST]}\n… {len(held) - LONGEST:,} more characters stand in entry {entry.seq} of the journal"
    told = element("p", element("span", f"{entry.seq}  {clock(entry.at)}  ", class_="when"), sentence(entry.event))
    return element("div", told, element("pre", held) if held else "", class_="entry")
