"""`audit sync`, and what is said of the copies of a run that lie elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import click

from dr.audit.comparison import Comparison
from dr.cli.journal import book, journal_option
from dr.cli.options import config_option
from dr.cli.streams import display
from dr.errors import DrError, EvidenceIncomplete, JournalBroken, JournalHeld, JournalUnreadable, UsageError


@click.command(epilog="\b\nExamples:\n  dr audit sync latest\n  dr audit sync --all")
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="Every run of the journal.")
@journal_option
@config_option
def sync(run_name: str | None, every: bool, journal: Path | None, config: Path) -> None:
    """Make all copies of a run equal: what the home or a mirror has not heard of is delivered.

    Nothing is ever replaced. Where copies differ they stay as they are, and the entry is named.
    """
    if every == bool(run_name):
        raise UsageError("name a run or give --all", hint="dr runs")
    found = book(config, journal)
    broken = 0
    for stored in found.runs() if every else (found.find(run_name or ""),):
        try:
            for line in found.sync(stored):
                display(f"{stored.run}: {line}")
        except (JournalBroken, JournalHeld, JournalUnreadable) as error:
            if not every:
                raise
            broken += 1
            display_fault(f"{stored.run}:", error)
    if broken:
        raise EvidenceIncomplete(f"{broken} of the runs could not be made equal", hint="dr audit sync RUN")


def display_fault(which: str, error: DrError) -> None:
    """What is wrong with one of several, where the others are gone on with."""
    first, *more = error.what.split("\n")
    display(f"{which} [{error.code}] {first}", *more)


def raise_difference(what: str, hint: str, copies: Sequence[Comparison]) -> None:
    """Raise what copies of something differ in, and what they lack; a live run's are still being written."""
    tampered = [f"{copy.where}: {told}" for copy in copies for told in copy.tampered]
    if tampered:
        raise JournalBroken(
            f"{what} was tampered with or damaged:\n  " + "\n  ".join(tampered),
            stands="nothing was touched; first versions are what is read",
            hint="find out who did it; the store's own access log may tell",
        )
    missing = [f"{copy.where}: {told}" for copy in copies for told in copy.missing]
    if missing:
        raise EvidenceIncomplete(
            f"{what} is not complete in every copy:\n  " + "\n  ".join(missing),
            stands="nothing was found changed",
            hint=hint,
        )
