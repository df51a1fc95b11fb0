import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.report.exhibit import Comparison, Exhibits, Mark, Series
from dr.report.folder import write_report
from dr.report.page import MOST_PLAN_LINES, MOST_ROWS
from dr.report.words import clock, sentence
from tests.report.parsed import Node, parse, rows, section
from tests.report.recorded import HEALTH, OVERLOAD, START, Happened, at, plan, record, recovered, started, step

EXHIBITS = Exhibits(
    series=(
        Series(
            title="Users affected",
            unit="%",
            points=((START - 4, 0.0), (START - 3, 84.0), (START + 6, 0.4)),
            until=START + 14,
            top=100.0,
            marks=(Mark(at=START - 2, label="detected"), Mark(at=START + 7, label="offloaded")),
            how="As the visitors saw it.",
        ),
    ),
    comparisons=(
        Comparison(
            title="Then and now", columns=("", "then", "now"), rows=(("recovered", "60 m", "14.5 s"),), how="As told."
        ),
    ),
)

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "div", "span"),
    *("dl", "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "code"),
    *("strong", "em", "a", "svg", "g", "rect", "line", "text", "path"),
}


def written(stored: StoredRun, folder: Path, exhibits: Exhibits = EXHIBITS) -> tuple[str, Node]:
    """The page as text and as a browser takes it apart."""
    write_report(folder, stored, exhibits)
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, parse(text)


def test_timeline_is_the_journal_entry_by_entry(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    _, page = written(stored, tmp_path / "report")
    told = rows(next(section(page, "Timeline").all("table")))
    assert told[0] == ["2023-05-15"]
    detected = datetime(2023, 5, 15, 13, 59, 58, tzinfo=UTC)
    for row, entry in zip(told[1:], stored.entries(), strict=True):
        elapsed = (datetime.fromisoformat(entry.at) - detected).total_seconds()
        assert row == [str(entry.seq), clock(entry.at), f"+{elapsed:.1f} s", entry.actor, sentence(entry.event)]


def test_opening_says_how_it_came_out_who_ran_it_why_and_where(tmp_path: Path) -> None:
    _, page = written(record(tmp_path / "journal", OVERLOAD, recovered()), tmp_path / "report")
    assert next(page.all("h1")).text == "Recovered in 14.5 s; the recovery time objective of 5m was met."
    cards = [[child.text for child in card.all("p")] for card in page.all("div", "card")]
    assert cards == [
        ["Did it finish?", "yes", "3 done, 1 skipped"],
        ["Is the service well?", "yes", "the steady state held for its hold time"],
        ["How long did recovery take?", "14.5 s", "from detection; objective 5m: met"],
    ]
    facts = facts_of(next(page.all("header")))
    assert facts["by"] == "ada on ops-1"
    assert facts["why"] == "users cannot check out"
    assert facts["where"] == "demo, graceful"
    assert facts["detected"] == "2023-05-15 13:59:58 UTC"
    assert facts["started"] == "2023-05-15 14:00:00 UTC"
    assert facts["last entry"] == "2023-05-15 14:00:12 UTC, 12.5 s after the start"


def test_verification_is_that_of_the_journal(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    text, page = written(stored, tmp_path / "report")
    head, _ = stored.verify()
    facts = facts_of(section(page, "What was verified"))
    assert facts["chain"].startswith(f"{head.size} entries,")
    assert facts["head"] == head.hash
    assert facts["checkpoints"] == "1 agree with the chain; the last at 15 entries"
    assert started(OVERLOAD).plan in facts["plan"]
    assert facts["signature"] == "none: the journal is unsigned"
    assert "Who did it. The journal is unsigned" in section(page, "What this report does not prove").text
    assert text.count(head.hash) == 1


def test_evidence_stands_in_full_with_its_step(tmp_path: Path) -> None:
    _, page = written(record(tmp_path / "journal", OVERLOAD, recovered()), tmp_path / "report")
    folds = {next(fold.all("code")).text: fold for fold in section(page, "Evidence").all("details")}
    assert list(folds) == ["disable-feature", "is-that-enough", "end-queries", "shift-reads", "steady-state"]
    assert '"before": "ENABLED",\n    "after": "DISABLED"' in folds["disable-feature"].text
    assert '"terminated": 17' in folds["end-queries"].text
    assert len(list(folds["end-queries"].all("pre"))) == 5
    assert "0.013" in folds["shift-reads"].text


def test_plan_shows_where_nothing_can_be_rolled_back_any_more(tmp_path: Path) -> None:
    of = plan(step("first"), step("promote", reversal="impossible"))
    _, page = written(record(tmp_path / "journal", of, [(0, started(of))]), tmp_path / "report", Exhibits())
    told = section(page, "The plan, as it was shown before the run")
    assert next(told.all("strong")).text == "---- point of no return: from here nothing is rolled back ----"


def test_series_shares_the_axis_of_the_steps(tmp_path: Path) -> None:
    _, page = written(record(tmp_path / "journal", OVERLOAD, recovered()), tmp_path / "report")
    plot, gantt = list(section(page, "Over time").all("svg"))[:2]
    detected = [next(drawing.all("line", "moment")).attributes["x1"] for drawing in (plot, gantt)]
    assert detected[0] == detected[1] == f"{180 + 610 * 2 / 18:.1f}"


def test_comparison_is_told_as_given(tmp_path: Path) -> None:
    _, page = written(record(tmp_path / "journal", OVERLOAD, recovered()), tmp_path / "report")
    assert rows(next(section(page, "Then and now").all("table"))) == [["recovered", "60 m", "14.5 s"]]


HOSTILE = (
    "</pre></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[2J\u202e\u2066\u200b&lt;\r\nforged"
)


def test_page_of_a_hostile_journal_holds_no_markup_of_its(tmp_path: Path) -> None:
    evidence = {HOSTILE: [HOSTILE, {"nested": HOSTILE}]}
    of = plan(
        step("only", title=HOSTILE, summary=HOSTILE, kind=HOSTILE),
        title=HOSTILE, owner=HOSTILE, environment=HOSTILE, description=HOSTILE, runbook=HOSTILE,
        steady_state=HEALTH, parameters={HOSTILE: HOSTILE},
    )  # fmt: skip
    question = e.Question(about="failed", step="only", text=HOSTILE, choices=("retry", "skip"))
    happened: list[Happened] = [
        (0, started(of, reason=HOSTILE, host=HOSTILE, version=HOSTILE)),
        (1, e.ApplyStarted(step="only", attempt=1, before=evidence)),
        (2, e.ApplyReturned(step="only", attempt=1, claim=evidence, error=HOSTILE)),
        (3, e.StepUnseen(step="only", attempt=1, why=HOSTILE, not_before=at(4))),
        (4, e.AttemptFailed(step="only", attempt=1, error=HOSTILE)),
        (4, e.Paused(question=question)),
        (5, e.OperatorAnswered(choice="skip", comment=HOSTILE)),
        (6, e.HealthObserved(well=True, evidence=evidence)),
        (6, e.RunEnded(finish="completed", service="well")),
    ]
    laid = Exhibits(
        series=(
            Series(title=HOSTILE, unit=HOSTILE, points=((START, 1.0),), until=START + 1, how=HOSTILE,
                   marks=(Mark(at=START, label=HOSTILE),)),
        ),
        comparisons=(Comparison(title=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),), how=HOSTILE),),
    )  # fmt: skip
    text, page = written(record(tmp_path / "journal", of, happened, actor=HOSTILE), tmp_path / "report", laid)
    assert {node.name for node in page.all()} <= ALLOWED
    assert not [name for node in page.all() for name in node.attributes if name.startswith("on") or name == "src"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text)
    assert page.text.count("<script>alert(1)</script>") > 20
    lines = (tmp_path / "report" / "timeline.txt").read_text(encoding="utf-8")
    assert not [char for char in lines if not char.isprintable() and char != "\n"]
    assert len(lines.splitlines()) == 6 + len(happened)


def test_page_needs_no_network_and_runs_nothing(tmp_path: Path) -> None:
    text, page = written(record(tmp_path / "journal", OVERLOAD, recovered()), tmp_path / "report")
    assert {node.name for node in page.all()} <= ALLOWED
    assert not re.search(r"https?:|//|url\(|@import", text.partition("</style>")[0])
    assert not re.search(r"https?:|\bsrc=|javascript:", text)
    links = [node.attributes["href"] for node in page.all() if "href" in node.attributes]
    assert links
    assert all((tmp_path / "report" / link).is_file() for link in links)
    policies = [node.attributes for node in page.all("meta") if "http-equiv" in node.attributes]
    assert policies == [
        {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"}
    ]


@pytest.mark.parametrize("steps", [MOST_ROWS // 3, 3000])
def test_page_of_a_long_run_says_what_it_leaves_out(tmp_path: Path, steps: int) -> None:
    of = plan(*(step(f"s{number}") for number in range(steps)), steady_state=None)
    happened: list[Happened] = [(0, started(of))]
    for number in range(steps):
        name, now = f"s{number}", number * 0.01
        happened.append((now, e.ApplyStarted(step=name, attempt=1)))
        happened.append((now, e.ApplyReturned(step=name, attempt=1, claim={"said": "x" * 50})))
        happened.append((now, e.StepDone(step=name, attempt=1, evidence={"seen": "y" * 50})))
    text, page = written(record(tmp_path / "journal", of, happened), tmp_path / "report", Exhibits())
    assert len(text) < 700_000
    total = len(happened)
    table = rows(next(section(page, "Timeline").all("table")))
    [cap] = [row[0] for row in table if "not shown" in row[0]]
    assert cap == f"{total - MOST_ROWS:,} of {total:,} entries are not shown here; timeline.txt has all of them."
    shown = [int(row[0]) for row in table if row[0].isdigit()]
    assert shown == [*range(MOST_ROWS // 2), *range(total - MOST_ROWS // 2, total)]
    assert f"60 of {steps:,} steps are shown" in section(page, "Over time").text
    shortened = "more lines are not shown here; plan.json has all of it." in text
    assert shortened is (steps * 2 > MOST_PLAN_LINES)
    assert len((tmp_path / "report" / "timeline.txt").read_text().splitlines()) == 6 + total


def test_evidence_too_large_for_the_page_is_cut_with_a_word(tmp_path: Path) -> None:
    of = plan(step("only"), steady_state=None)
    happened: list[Happened] = [
        (0, started(of)),
        (1, e.StepDone(step="only", attempt=0, evidence={"seen": "x" * 20_000})),
    ]
    _, page = written(record(tmp_path / "journal", of, happened), tmp_path / "report", Exhibits())
    assert re.search(r"… 12,\d{3} more characters stand in entry 1 of the journal", section(page, "Evidence").text)


def test_evidence_of_too_many_entries_ends_with_a_word(tmp_path: Path) -> None:
    of = plan(step("only"), steady_state=None)
    tries = range(1, 301)
    failed = [e.AttemptFailed(step="only", attempt=number, error="x" * 8000, not_before=at(0)) for number in tries]
    stored = record(
        tmp_path / "journal", of, [(0, started(of)), *((float(number), one) for number, one in enumerate(failed))]
    )
    text, page = written(stored, tmp_path / "report", Exhibits())
    shown = len(list(section(page, "Evidence").all("pre")))
    assert 50 < shown < 300
    assert f"{300 - shown} more entries of these steps are not shown here; they stand in the journal." in text
    assert len(text) < 5_000_000


def test_question_and_answer_stand_with_the_step_they_are_about(tmp_path: Path) -> None:
    of = plan(step("only"), steady_state=None)
    happened: list[Happened] = [
        (0, started(of)),
        (1, e.AttemptFailed(step="only", attempt=1, error="no")),
        (1, e.Paused(question=e.Question(about="failed", step="only", text="what now?", choices=("retry", "skip")))),
        (9, e.OperatorAnswered(choice="skip", comment="seen in the console")),
    ]
    _, page = written(record(tmp_path / "journal", of, happened), tmp_path / "report", Exhibits())
    [fold] = section(page, "Evidence").all("details")
    assert "what now?" in fold.text
    assert "seen in the console" in fold.text


def facts_of(node: Node) -> dict[str, str]:
    """The names and sentences of its facts."""
    names = [name.text for name in node.all("dt")]
    return dict(zip(names, [said.text for said in node.all("dd")], strict=True))
