"""`runs`, `show`: what the journal says."""

from pathlib import Path

import click

from dr.audit.replay import fold
from dr.cli.identity import signers
from dr.cli.journal import book_to_read, journal_option
from dr.cli.options import as_typed_here, config_option, run_argument, signers_option
from dr.cli.streams import display
from dr.core import events as e
from dr.core import state as s
from dr.report.summary import next_command, stands_now, summarize
from dr.report.timeline import measure
from dr.report.verdict import actual
from dr.report.words import answer_command, clock, plan_lines, printable, sentence, signer


@click.command(epilog="\b\nExamples:\n  dr runs\n  dr runs --json | jq .")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
@journal_option
@config_option
def runs(as_json: bool, journal: Path | None, config: Path) -> None:
    """List the runs in the journal, newest last.

    Where each stands, how long recovery took and what was lost. Of each it is verified that nothing was changed; who
    signed it is for `dr audit verify --all`.
    """
    import msgspec

    found = book_to_read(config, journal)
    listed = [summarize(stored) for stored in found.runs()]
    if as_json:
        for run in listed:
            click.echo(msgspec.json.encode(run))
        return
    if not listed:
        display(f"there are no runs yet in {found.directory}")
    name = max((len(run.run) for run in listed), default=0)
    environment = max((len(run.environment) for run in listed), default=0)
    for run in listed:
        display(f"{run.run:{name}}  {run.environment:{environment}}  {run.stands}")


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
    display("", f"{stored.run}: {stands_now(stored, folded)}", *actual(measure(folded.plan, stored.entries())))
    if command := next_command(stored, folded):
        again = f"dr {command} {stored.run}"
        if isinstance(folded.state, s.Paused):
            again = answer_command(stored.run, folded.state.question)
        alone = " --journal " in (typed := as_typed_here(again))
        display(f"next: {typed}{'   (unless this is a copy)' if alone else ''}")
    if report is not None:
        from dr.report.folder import PAGE, write_report  # only for the few who want a folder

        write_report(report, stored, signers=signers(config, allowed_signers))
        display(f"report: {report / PAGE}")
