"""`runs`, `show`, `audit`: what the journal says."""

from collections.abc import Iterator
from pathlib import Path

import click

from dr.audit.journal import StoredRun
from dr.audit.replay import Folded, begun, fold
from dr.cli.options import book, config_option, journal_option
from dr.core import events as e
from dr.core import state as s
from dr.core.events import Entry
from dr.errors import DrError, JournalBroken, NoSuchRun, UsageError
from dr.report.timeline import Measured, timeline
from dr.report.words import clock, plan_lines, printable, sentence, standing

REPLAY_UP_TO = 20_000
"""Entries up to which `audit verify` also replays the run without being asked: about 0.1 s."""

run_argument = click.argument("run_name", metavar="RUN")


@click.command(epilog="\b\nExamples:\n  dr runs\n  dr runs --json | jq .")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run.")
@journal_option
@config_option
def runs(as_json: bool, journal: Path | None, config: Path) -> None:
    """List the runs in the journal, newest last."""
    import msgspec

    found = book(config, journal)
    rows = [_row(stored) for stored in found.runs()]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row))
        return
    if not rows:
        click.echo(f"there are no runs yet in {found.directory}")
    for row in rows:
        click.echo(f"{row['run']}  {row['environment']:12}  {row['stands']}")


@click.command(epilog="\b\nExamples:\n  dr show latest\n  dr show 20230515T1445 --report postmortem")
@run_argument
@click.option(
    "--report",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also make a folder to mail and to keep: the report as a page, and the journal.",
)
@journal_option
@config_option
def show(run_name: str, report: Path | None, journal: Path | None, config: Path) -> None:
    """Show where a run stands and what happened in it."""
    stored = book(config, journal).find(run_name)
    folded = fold(stored)
    assert isinstance(folded.first.event, e.RunStarted)
    click.echo("\n".join(plan_lines(folded.plan, folded.first.event.plan)) + "\n")
    for entry in stored.entries():
        click.echo(f"{entry.seq:5}  {clock(entry.at)}  {entry.actor:10}  {sentence(entry.event)}")
    click.echo(f"\n{stored.run}: {_stands(stored, folded)}")
    for line in _recovery_time(timeline(folded.plan, stored.entries()).measured):
        click.echo(line)
    if command := _next(stored, folded):
        choices = "|".join(folded.state.question.choices) if isinstance(folded.state, s.Paused) else ""
        click.echo(f"next: dr {command} {stored.run} {choices}".rstrip())
    if report is not None:
        from dr.report.folder import PAGE, write_report  # only for the few who want a folder

        write_report(report, stored)
        click.echo(f"report: {report / PAGE}")


@click.group(epilog="\b\nExamples:\n  dr audit verify latest\n  dr audit show latest --json")
def audit() -> None:
    """Verify and read the journal."""


@audit.command(epilog="\b\nExamples:\n  dr audit verify latest\n  dr audit verify --all")
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="Verify every run of the journal.")
@click.option(
    "--replay/--no-replay", default=None, help=f"Also replay the run; by default up to {REPLAY_UP_TO} entries."
)
@journal_option
@config_option
def verify(run_name: str | None, every: bool, replay: bool | None, journal: Path | None, config: Path) -> None:
    """Verify that nothing was changed, added, moved or removed.

    Always: each entry follows the one before it by hash and number, the checkpoints agree, and the plan is the one the
    run was started with. Replayed: every entry can follow the one before it by the rules of a run.
    """
    if every == bool(run_name):
        raise UsageError("name a run or give --all", hint="dr runs")
    found = book(config, journal)
    broken = 0
    chosen = found.runs() if every else (found.find(run_name or ""),)
    if not chosen:
        click.echo(f"there are no runs yet in {found.directory}")
    for stored in chosen:
        try:
            click.echo(_verified(stored, replay))
        except NoSuchRun:
            if not every:
                raise
            click.echo(f"{stored.run}: has no entry, was never started")
        except DrError as error:
            if not every:
                raise
            broken += 1
            click.echo(f"{stored.run}: BROKEN [{error.code}] {error.what}")
    if broken:
        raise JournalBroken(
            f"{broken} of the runs do not verify", stands="nothing was touched", hint="dr audit verify RUN"
        )


@audit.command(
    "show", epilog="\b\nExamples:\n  dr audit show latest\n  dr audit show latest --json --step disable-feature"
)
@run_argument
@click.option("--json", "as_json", is_flag=True, help="The raw lines of the journal.")
@click.option("--step", help="Only entries of this step.")
@journal_option
@config_option
def audit_show(run_name: str, as_json: bool, step: str | None, journal: Path | None, config: Path) -> None:
    """Show the entries of a run. Works on a journal that does not verify, as far as it can be read."""
    stored = book(config, journal).find(run_name)
    for line in stored.raw():
        entry = _read(line)
        if step is not None and getattr(getattr(entry, "event", None), "step", None) != step:
            continue
        if as_json:
            click.echo(line)
        elif entry is None:
            click.echo(f"not an entry: {printable(line.decode(errors='backslashreplace'))}")
        else:
            click.echo(f"{entry.seq:5}  {entry.at}  {entry.actor:10}  {sentence(entry.event)}")


def _read(line: bytes) -> Entry | None:
    """The entry, or None for a line that is none."""
    import msgspec

    try:
        return e.decode_entry(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _verified(stored: StoredRun, replay: bool | None) -> str:
    head, torn = stored.verify()
    begun(stored)
    folded = fold(stored) if (head.size <= REPLAY_UP_TO if replay is None else replay) else None
    marks = len(stored.checkpoints())
    notes = [f"{head.size} entries", f"head {head.hash[:16]}", f"{marks} checkpoint{'s' if marks != 1 else ''}"]
    notes.append("replayed" if folded else "not replayed (--replay does)")
    if torn is not None:
        notes.append(f"an unfinished entry of {torn.bytes} bytes at the end, as a crash leaves it")
    if folded and not isinstance(folded.state, s.Ended):
        notes.append(f"the run has not ended: {standing(folded.plan, folded.state)}")
    return f"{stored.run}: verified; {', '.join(notes)}; unsigned"


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
        verdict = {True: "met", False: "MISSED", None: ""}[measured.rto_met]
        goal = f"; objective {measured.rto}: {verdict}" if verdict else ""
        yield f"actual recovery time: {measured.recovery_time:.1f} s from {since}{goal}"
