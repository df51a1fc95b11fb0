"""Runs in figures, for who counts them over a year."""

from pathlib import Path

import msgspec
import pytest

from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.duration import Duration
from dr.core.runbook import Objectives
from dr.report.folder import lines
from dr.report.summary import Summary, summarize
from dr.report.timeline import measure, timeline
from dr.report.verdict import actual
from tests.report.recorded import OVERLOAD, RUN, Happened, at, record, recovered, started

BOTH = msgspec.structs.replace(OVERLOAD, objectives=Objectives(rto=Duration(300), rpo=Duration(0)))
FIELDS = [
    "run", "environment", "stands", "standing", "finish", "service", "runbook", "mode", "by", "reason", "detected",
    "started", "last", "recovery_seconds", "rto_seconds", "rto_met", "lost_at_most_seconds", "rpo_seconds", "rpo_met",
    "set_back_seconds",
]  # fmt: skip


def lost(seconds: float) -> list[Happened]:
    """The recovery, with a step that measured how much was lost."""
    happened = recovered(BOTH)
    happened[9] = (4.0, e.ApplyReturned(step="end-queries", attempt=2, claim={"lost_at_most_seconds": seconds}))
    return happened


def test_a_recovery_in_figures(tmp_path: Path) -> None:
    assert summarize(record(tmp_path, BOTH, lost(0))) == Summary(
        run=RUN,
        environment="demo",
        stands="ended (completed, service well); recovery took 14.5 s, RTO 5m met; data lost: none, RPO 0s met",
        standing="ended",
        finish="completed",
        service="well",
        runbook="database-overload",
        mode="graceful",
        by="ada",
        reason="users cannot check out",
        detected=at(-2),
        started=at(0),
        last=at(12.5),
        recovery_seconds=14.5,
        rto_seconds=300,
        rto_met=True,
        lost_at_most_seconds=0,
        rpo_seconds=0,
        rpo_met=True,
        set_back_seconds=0,
    )


def test_every_name_is_there_also_of_what_is_not_known(tmp_path: Path) -> None:
    """Other people's programs rely on these names: none may go."""
    for run in (record(tmp_path / "a", BOTH, lost(0)), StoredRun(tmp_path / "none")):
        assert list(msgspec.json.decode(msgspec.json.encode(summarize(run)))) == FIELDS


def test_what_was_lost_may_be_more_than_the_objective_allows(tmp_path: Path) -> None:
    told = summarize(record(tmp_path, BOTH, lost(2.5)))
    assert (told.lost_at_most_seconds, told.rpo_met) == (2.5, None)
    assert told.stands.endswith("; data lost: at most 2.5 s of writes, RPO 0s not shown to be met")


def test_without_objectives_the_figures_stand_alone(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(OVERLOAD, objectives=Objectives())
    told = summarize(record(tmp_path, plan, recovered(plan)))
    assert (told.recovery_seconds, told.rto_seconds, told.rto_met, told.rpo_seconds) == (14.5, None, None, None)
    assert told.stands == "ended (completed, service well); recovery took 14.5 s"


def test_a_run_that_was_killed_has_no_recovery(tmp_path: Path) -> None:
    told = summarize(record(tmp_path, OVERLOAD, recovered()[:7]))
    assert (told.standing, told.finish, told.service, told.recovery_seconds) == ("interrupted", None, None, None)
    assert told.stands.endswith("(next: dr resume)")


def test_a_paused_run_says_so(tmp_path: Path) -> None:
    question = e.Question(about="failed", step="end-queries", text="?", choices=("retry", "abort"))
    failed = e.AttemptFailed(step="end-queries", attempt=1, error="refused")
    told = summarize(record(tmp_path, OVERLOAD, [*recovered()[:7], (3.0, failed), (3.0, e.Paused(question=question))]))
    assert told.standing == "paused"
    assert told.stands.endswith("(next: dr answer)")


def test_a_run_that_never_began_has_no_figures(tmp_path: Path) -> None:
    stored = record(tmp_path, OVERLOAD, recovered())
    (stored.directory / "journal.jsonl").write_bytes(b"")
    (stored.directory / "checkpoints.jsonl").unlink()
    assert summarize(stored).standing == "never-started"


@pytest.mark.parametrize("name", ["journal.jsonl", "checkpoints.jsonl", "plan.json"])
def test_of_a_doctored_run_there_are_no_figures(name: str, tmp_path: Path) -> None:
    """The plan with a longer objective, the journal with an earlier end: no board is to see these."""
    stored = record(tmp_path, OVERLOAD, recovered())
    path = stored.directory / name
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(b"demo", b"prod", 1) if b"demo" in whole else whole.replace(b'"head":"', b'"head":"0')
    )
    told = summarize(stored)
    assert told.standing == "broken"
    assert told.stands.startswith("DOES NOT VERIFY [")
    assert (told.finish, told.recovery_seconds, told.rto_met) == (None, None, None)


def test_the_figures_are_the_same_wherever_they_are_told(tmp_path: Path) -> None:
    happened = lost(0)
    stored = record(tmp_path, BOTH, happened)
    whole = timeline(BOTH, stored.entries())
    assert measure(BOTH, stored.entries()) == whole.measured
    assert list(actual(whole.measured)) == [
        "actual recovery time: 14.5 s from detection; objective 5m: met",
        "actual recovery point: no write lost; objective 0s: met",
    ]
    text = "\n".join(lines(stored, BOTH, whole))
    assert "How long did recovery take? 14.5 s (from detection; objective 5m: met)" in text
    assert "How much data was lost? none (objective 0s: met)" in text


def test_a_time_that_is_none_is_a_journal_that_does_not_verify(tmp_path: Path) -> None:
    happened = [(0.0, started(OVERLOAD, detected="yesterday")), *recovered()[1:]]
    assert summarize(record(tmp_path, OVERLOAD, happened)).standing == "broken"
