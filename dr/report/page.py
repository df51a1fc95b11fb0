"""The page: one HTML file that needs nothing but itself."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from itertools import islice
from urllib.parse import quote

import msgspec

from dr.core import events as e
from dr.core.plan import Plan
from dr.core.timestamp import parse_iso
from dr.report.axis import Axis, after, axis, span
from dr.report.drawing import CHART, LEFT
from dr.report.evidence import evidence
from dr.report.exhibit import Comparison, Exhibits
from dr.report.gantt import gantt, legend, worth_drawing
from dr.report.markup import Html, element, fragment
from dr.report.plot import plot
from dr.report.proof import Proof, unproven, verified
from dr.report.timeline import Timeline
from dr.report.verdict import Result, headline, results
from dr.report.words import clock, plan_lines, sentence

MOST_ROWS = 600
"""Entries in the table: the first and the last half of them."""
MOST_PLAN_LINES = 600


class Copy(msgspec.Struct, frozen=True):
    """A file that lies beside the page."""

    name: str
    size: int
    """Bytes."""
    sha256: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page tells, but for the entries."""

    run: str
    plan: Plan
    started: e.RunStarted
    signer: str
    """Who signs, as the first entry says; empty: nobody."""
    timeline: Timeline
    proof: Proof
    exhibits: Exhibits
    copies: tuple[Copy, ...]


Entries = Callable[[], Iterable[e.Entry]]
"""Reads the entries from the beginning: they may be too many to hold."""


def page(told: Told, entries: Entries) -> str:
    """The whole page. The same run gives the same bytes."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        # The page fetches nothing; this has the browser hold it to that, whatever a journal may say.
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{told.plan.title}: {told.run}"),
        element("style", Html(files("dr.report").joinpath("page.css").read_text(encoding="utf-8"))),
    )
    body = element("body", element("main", _opening(told), *_sections(told, entries)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _opening(told: Told) -> Html:
    """The outcome, the two results, and who, why, where, when."""
    measured, started = told.timeline.measured, told.started
    facts = {
        "run": told.run,
        "by": f"{', '.join(told.timeline.actors)} on {started.host or 'an unnamed host'}",
        "why": started.reason or "no reason was given",
        "where": f"{started.environment}, {started.mode}",
        "detected": "not said" if measured.detected is None else _moment(measured.detected),
        "started": _moment(measured.started),
        "last entry": f"{_moment(measured.last)}, {span(measured.last - measured.started)} after the start",
        "owner": told.plan.owner or "not named",
        "dr": started.version,
    }
    return element(
        "header",
        element("p", told.plan.title, class_="title"),
        element("h1", headline(told.timeline)),
        element("div", *map(_card, results(told.timeline)), class_="cards"),
        _facts(facts.items()),
    )


def _card(result: Result) -> Html:
    tone = {True: "good", False: "bad", None: "open"}[result.good]
    return element(
        "div",
        element("p", result.question, class_="question"),
        element("p", result.answer, class_="answer"),
        element("p", result.detail, class_="detail"),
        class_=f"card {tone}",
    )


def _sections(told: Told, entries: Entries) -> Iterator[Html]:
    run = told.timeline
    lanes = worth_drawing(run.lanes)
    cap = Html()
    if len(lanes) < len(run.lanes):
        said = f"{len(lanes)} of {len(run.lanes):,} steps are shown: what did not go smoothly, then what took longest."
        cap = element("p", said, class_="cap")
    time = _axis(told)
    yield _section("Over time", *_plots(told, time), gantt(lanes, run, time), legend(), _zero(run, time), cap)
    for comparison in told.exhibits.comparisons:
        yield _section(comparison.title, _comparison(comparison))
    yield _section("Timeline", *_timeline(told, entries()))
    yield _section("Evidence", cap, *evidence(lanes, told.plan, entries()))
    description = element("p", told.plan.description, class_="description")
    yield _section("The plan, as it was shown before the run", description, _plan(told))
    yield _section("What was verified", _facts(verified(told.proof)), *_again(told))
    doubts = (element("li", said) for said in unproven(told.plan, run, told.exhibits, told.proof.verdict))
    yield _section("What this report does not prove", element("ul", *doubts))
    yield _section("In this folder", _files(told.copies))


def _axis(told: Told) -> Axis:
    """One axis over the detection, the run and what was measured beside it."""
    run = told.timeline
    idle = [(gap.start, gap.end) for gap in run.gaps]
    start, end = min(run.measured.since, run.measured.started), run.measured.last
    for series in told.exhibits.series:
        start, end = min(start, series.points[0][0]), max(end, series.until)
    if not told.exhibits.series:
        idle.append((start, run.measured.started))  # nothing is drawn of the time before the run
    return axis(start, end, idle, LEFT, CHART)


def _plots(told: Told, time: Axis) -> Iterator[Html]:
    for series in told.exhibits.series:
        yield plot(series, told.timeline.measured.since, time)
        yield element("p", f"{series.title}, in {series.unit}. {series.how}", class_="how")


def _zero(run: Timeline, time: Axis) -> Html:
    measured = run.measured
    what = "the start of the run" if measured.detected is None else "detection"
    said = f"0 is {what}, {_moment(measured.since)}."
    if time.squeezed:
        said += " A while in which nobody was at work is drawn shorter than it was."
    if any(gap.why == "lost" for gap in run.gaps):
        said += " A process that ended without a word left its last entry; it may have lived a little longer."
    return element("p", said, class_="how")


def _comparison(comparison: Comparison) -> Html:
    head = element("tr", *(element("th", name, scope="col") for name in comparison.columns))
    rows = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in comparison.rows
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="comparison")
    return fragment(table, element("p", comparison.how, class_="how"))


def _timeline(told: Told, entries: Iterable[e.Entry]) -> Iterator[Html]:
    """The entries as a table; of very many, the first and the last."""
    total, half = told.proof.verdict.head.size, MOST_ROWS // 2
    left_out = max(0, total - MOST_ROWS)
    rows: list[Html] = []
    day, source = "", iter(entries)
    for entry in islice(source, MOST_ROWS if not left_out else half):
        rows += _row(entry, day, told.timeline.measured.since)
        day = entry.at[:10]
    if left_out:
        said = f"{left_out:,} of {total:,} entries are not shown here; timeline.txt has all of them."
        rows.append(element("tr", element("td", said, colspan=5), class_="cap"))
        for entry in islice(source, left_out, None):
            rows += _row(entry, day, told.timeline.measured.since)
            day = entry.at[:10]
    names = ("#", "UTC", "elapsed", "actor", "what happened")
    head = element("tr", *(element("th", name, scope="col") for name in names))
    yield element("table", element("thead", head), element("tbody", *rows), class_="timeline")


def _row(entry: e.Entry, day: str, since: float) -> Iterator[Html]:
    """The entry, after a row for its day if that is a new one."""
    if entry.at[:10] != day:
        yield element("tr", element("td", entry.at[:10], colspan=5), class_="day")
    yield element(
        "tr",
        element("td", str(entry.seq), class_="number"),
        element("td", clock(entry.at), class_="number"),
        element("td", after(parse_iso(entry.at) - since), class_="number"),
        element("td", entry.actor),
        element("td", sentence(entry.event)),
        class_=str(type(entry.event).__struct_config__.tag),
    )


def _plan(told: Told) -> Html:
    lines = plan_lines(told.plan, told.started.plan, told.signer)
    shown = [element("strong", line) if line.startswith("----") else fragment(line) for line in lines[:MOST_PLAN_LINES]]
    if len(lines) > len(shown):
        shown.append(
            element("em", f"{len(lines) - len(shown):,} more lines are not shown here; plan.json has all of it.")
        )
    return element("pre", *(fragment(line, "\n") for line in shown), class_="plan")


def _again(told: Told) -> Iterator[Html]:
    """How to verify the copy, with `dr` and without it."""
    yield element("p", "To verify the copy in this folder, from within it:")
    commands = f"dr audit verify {told.run} --journal ."
    if told.proof.torn is None:
        commands += (
            f"\ntail -n 1 runs/{told.run}/journal.jsonl | tr -d '\\n' | sha256sum   # without dr: the head above"
        )
    yield element("pre", commands)


def _files(copies: Iterable[Copy]) -> Html:
    names = ("file", "bytes", "SHA-256")
    rows = (
        element(
            "tr",
            element("td", element("a", copy.name, href=quote(copy.name))),
            element("td", f"{copy.size:,}", class_="number"),
            element("td", element("code", copy.sha256)),
        )
        for copy in copies
    )
    head = element("tr", *(element("th", name, scope="col") for name in names))
    return element("table", element("thead", head), element("tbody", *rows), class_="files")


def _section(title: str, *content: str) -> Html:
    return element("section", element("h2", title), *content)


def _facts(facts: Iterable[tuple[str, str]]) -> Html:
    return element("dl", *(element("div", element("dt", name), element("dd", said)) for name, said in facts))


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
