"""`runs`, `show`: what the journal says."""

from collections.abc import Iterator
from pathlib import Path

import click

from dr.audit.replay import Folded, fold
from dr.audit.stored import StoredRun
from dr.cli.identity import signers
from dr.cli.journal import book_to_read, journal_option
from dr.cli.options import as_typed_here, config_option, run_argument, signers_option
from dr.cli.streams import display
from dr.core import events as e
from dr.core import state as s
from dr.errors import DrError, NoSuchRun
from dr.report.axis import span
from dr.report.timeline import Measured, timeline
from dr.report.verdict import met, rpo_standing, took
from dr.report.words import answer_command, clock, plan_lines, printable, sentence, signer, standing


@click.command(epilog="\b\nExamples:\n  dr runs\n  dr runs --json | jq .")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
@journal_option
@config_option
def runs(as_json: bool, journal: Path | None, config: Path) -> None:
    """List the runs in the journal, newest last."""
    import msgspec

    found = book_to_read(config, journal)
    rows = [_row(stored) for stored in found.runs()]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
        return
    if not rows:
        display(f"there are no runs yet in {found.directory}")
    for row in rows:
        display(f"{row['run']}  {row['environment']:12}  {row['stands']}")


@click.command(epilog="\b\nExamples:\n  dr show latest\n  dr show 20230515T1445 --report postmortem")
@run_argument
@click.option(
    "--report",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also make a folder to mail and to keep: the report as a page, and the journal.",
)
@signers_option
@journal_option
@config_option
def show(run_name: str, report: Path | None, allowed_signers: Path | None, journal: Path | None, config: Path) -> None:
    """Show where a run stands and what happened in it."""
    stored = book_to_read(config, journal).find(run_name)
    folded = fold(stored)
    assert isinstance(folded.first.event, e.RunStarted)
    display(*plan_lines(folded.plan, folded.first.event.plan, signer(folded.first)), "")
    for entry in stored.entries():
        display(f"{entry.seq:5}  {clock(entry.at)}  {printable(entry.actor):10}  {sentence(entry.event)}")
    stored.judge(None)  # what was changed is shown, and then said to be; who signed it is for `audit verify`
    display("", f"{stored.run}: {_stands(stored, folded)}")
    measured = timeline(folded.plan, stored.entries()).measured
    for line in (*_recovery_time(measured), *_recovery_point(measured)):
        display(line)
    if command := _next(stored, folded):
        again = f"dr {command} {stored.run}"
        if isinstance(folded.state, s.Paused):
            again = answer_command(stored.run, folded.state.question)
        alone = " --journal " in (typed := as_typed_here(again))
        display(f"next: {typed}{'   (unless this is a copy)' if alone else ''}")
    if report is not None:
        from dr.report.folder import PAGE, write_report  # only for the few who want a folder

        write_report(report, stored, signers=signers(config, allowed_signers))
        display(f"report: {report / PAGE}")


def _row(stored: StoredRun) -> dict[str, str]:
    try:
        folded = fold(stored)
    except NoSuchRun:
        return {"run": stored.run, "environment": "", "stands": "never started, nothing was touched"}
    except DrError as error:
        return {"run": stored.run, "environment": "?", "stands": f"unreadable [{error.code}]"}
    command = _next(stored, folded)
    stands = _stands(stored, folded) + (f" (next: dr {command})" if command else "")
    return {"run": stored.run, "environment": folded.plan.environment, "stands": stands}


def _stands(stored: StoredRun, folded: Folded) -> str:
    held = stored.is_held()
    words = standing(folded.plan, folded.state, doubt="under way" if held else "in doubt")
    if isinstance(folded.state, s.Ended):
        return words
    if held:
        return f"{words}; {stored.holder()} is working on it"
    return words if isinstance(folded.state, s.Paused) else f"interrupted, {words}"


def _next(stored: StoredRun, folded: Folded) -> str:
    """The command that goes on with the run; empty when there is nothing to do."""
    if isinstance(folded.state, s.Ended) or stored.is_held():
        return ""
    return "answer" if isinstance(folded.state, s.Paused) else "resume"


def _recovery_time(measured: Measured) -> Iterator[str]:
    """The measured recovery time beside its objective: from detection until the steady state had held."""
    if measured.recovery_time is not None:
        since = "the start of the run" if measured.detected is None else "detection"
        verdict = met(measured)
        goal = f"; objective {measured.rto}: {verdict}" if verdict else ""
        yield f"actual recovery time: {took(measured, measured.recovery_time)} from {since}{goal}"


def _recovery_point(measured: Measured) -> Iterator[str]:
    """How much was lost at most, beside its objective."""
    if measured.lost_at_most is not None:
        goal = f"; objective {measured.rpo}: {rpo_standing(measured)}" if measured.rpo is not None else ""
        yield f"actual recovery point: at most {span(measured.lost_at_most)} of writes lost{goal}"
