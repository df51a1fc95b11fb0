"""`audit show`: the entries of one run or of all, and those of them that somebody looks for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import click

from dr.audit.stored import StoredRun
from dr.cli.journal import book_to_read, journal_option
from dr.cli.options import config_option, instant
from dr.cli.streams import display
from dr.core.events import Entry, RunStarted, decode_entry
from dr.core.timestamp import parse_iso
from dr.errors import UsageError
from dr.report.words import printable, sentence

Filter = Callable[[Entry], bool]


@click.command(
    "show",
    epilog="""\b
Examples:
  dr audit show latest
  dr audit show latest --json --step disable-feature
  dr audit show --all --environment production --actor alice@example.org --since 2023-05-01""",
)
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="The entries of every run of the journal.")
@click.option("--json", "as_json", is_flag=True, help="The raw lines of the journal.")
@click.option("--step", help="Only entries of this step.")
@click.option("--actor", help="Only entries of this person or service.")
@click.option("--environment", help="Only runs on this environment.")
@click.option("--since", metavar="TIME", help="Only entries from this time on (ISO 8601; without a zone local time).")
@click.option("--until", metavar="TIME", help="Only entries before this time.")
@journal_option
@config_option
def audit_show(
    run_name: str | None,
    every: bool,
    as_json: bool,
    step: str | None,
    actor: str | None,
    environment: str | None,
    since: str | None,
    until: str | None,
    journal: Path | None,
    config: Path,
) -> None:
    """Show the entries of a run. Works on a journal that does not verify, as far as it can be read.

    What cannot be read as an entry is shown whatever is looked for.
    """
    if every == bool(run_name):
        raise UsageError("name a run or give --all", hint="dr runs")
    found = book_to_read(config, journal)
    wanted = tuple(_filters(step, actor, since, until))
    for stored in found.runs() if every else (found.find(run_name or ""),):
        if environment is not None and _environment(stored) not in (environment, None):
            continue
        _show(stored, wanted, as_json=as_json, named=every)


def _filters(step: str | None, actor: str | None, since: str | None, until: str | None) -> Iterator[Filter]:
    if step is not None:
        yield lambda entry: getattr(entry.event, "step", None) == step
    if actor is not None:
        yield lambda entry: entry.actor == actor
    if since is not None:
        first = instant("--since", since)
        yield lambda entry: _at(entry) >= first
    if until is not None:
        end = instant("--until", until)
        yield lambda entry: _at(entry) < end


def _show(stored: StoredRun, wanted: tuple[Filter, ...], *, as_json: bool, named: bool) -> None:
    for line in stored.raw():
        entry = _read(line)
        if entry is not None and not all(fits(entry) for fits in wanted):
            continue
        if named and not as_json:
            named = False
            display(f"{stored.run}:")
        if as_json:
            click.echo(line)
        elif entry is None:
            display(f"not an entry: {line.decode(errors='backslashreplace')}")
        else:
            display(f"{entry.seq:5}  {entry.at}  {printable(entry.actor):10}  {sentence(entry.event)}")


def _environment(stored: StoredRun) -> str | None:
    """The environment of the run; None where its first line does not tell."""
    entry = next((_read(line) for line in stored.raw()), None)
    return entry.event.environment if entry and isinstance(entry.event, RunStarted) else None


def _at(entry: Entry) -> float:
    return parse_iso(entry.at)


def _read(line: bytes) -> Entry | None:
    """The entry, or None for a line that is none."""
    try:
        entry = decode_entry(line)
        parse_iso(entry.at)
    except ValueError:  # msgspec's own errors and those of Unicode and of a time are ValueErrors
        return None
    return entry
