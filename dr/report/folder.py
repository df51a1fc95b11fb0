"""The report folder of a run: a page to mail, and the journal it was told from to keep.

    <folder>/report.html, timeline.txt       for people
             exhibits.json                   what the caller laid beside the run, if anything
             runs/<run>/plan.json, journal.jsonl, checkpoints.jsonl, torn-*   the journal's files, bytes unchanged

The copy lies as a journal directory does, so `dr audit verify RUN --journal FOLDER` judges it.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dr.audit.allowed_signers import AllowedSigners
from dr.audit.disk import sync_directory, sync_tree
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN
from dr.audit.replay import begun
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.plan import Plan
from dr.core.timestamp import parse_iso
from dr.errors import UsageError
from dr.report.axis import after
from dr.report.exhibit import NOTHING, Exhibits
from dr.report.page import Copy, Told, page
from dr.report.proof import Proof
from dr.report.timeline import Timeline, timeline
from dr.report.verdict import headline, results
from dr.report.words import printable, sentence, signer

PAGE, TEXT, EXHIBITS = "report.html", "timeline.txt", "exhibits.json"


def write_report(
    folder: Path, stored: StoredRun, exhibits: Exhibits = NOTHING, signers: AllowedSigners | None = None
) -> None:
    """Make `folder` with the report of the run, all of it or none. `signers`: whose signatures are accepted.

    Raises:
        UsageError: the folder exists and is not empty (a report is never written over), or cannot be written.
        JournalBroken, PlanChanged: the journal does not verify; of what cannot be trusted there is no report.
        NoSuchRun: the run was never started.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=folder.parent) as work:
            made = Path(work) / "report"
            made.mkdir(mode=0o750)  # no more open than the journal is
            _fill(made, copy(stored, made / "runs" / stored.run), exhibits, signers)
            sync_tree(made)
            made.rename(folder)
            sync_directory(folder.parent)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written: {error.filename2 or error.filename or folder}: {error.strerror}",
            stands="no report was made",
            hint="name a folder that does not exist yet",
        ) from error


def copy(stored: StoredRun, place: Path) -> StoredRun:
    """Copy the journal's files. All else is read from the copy, so a run that goes on meanwhile cannot differ."""
    place.mkdir(parents=True)
    (place / PLAN).write_bytes(stored.plan())
    # Checkpoints before entries, or the copy could hold one of an entry that it has not.
    for name in (CHECKPOINTS, JOURNAL, *sorted(torn.name for torn in stored.directory.glob("torn-*"))):
        if (stored.directory / name).exists():
            with (place / name).open("wb") as file:
                file.writelines(stored.blocks(name))
            shutil.copymode(stored.directory / name, place / name)
    return StoredRun(place)


def _fill(folder: Path, kept: StoredRun, exhibits: Exhibits, signers: AllowedSigners | None) -> None:
    verdict, torn = kept.judge(signers)
    plan, first = begun(kept)
    assert isinstance(first.event, e.RunStarted)
    line = timeline(plan, kept.entries())
    with (folder / TEXT).open("w", encoding="utf-8") as text:
        text.writelines(f"{printable(said)}\n" for said in lines(kept, plan, line))
    if exhibits != NOTHING:
        (folder / EXHIBITS).write_bytes(msgspec.json.format(msgspec.json.encode(exhibits), indent=2) + b"\n")
    told = Told(
        run=kept.run,
        plan=plan,
        started=first.event,
        signer=signer(first),
        timeline=line,
        proof=Proof(verdict=verdict, torn=torn, checkpoints=kept.checkpoints(), plan=first.event.plan),
        exhibits=exhibits,
        copies=tuple(_copies(folder)),
    )
    (folder / PAGE).write_text(page(told, kept.entries), encoding="utf-8")


def lines(kept: StoredRun, plan: Plan, line: Timeline) -> Iterator[str]:
    """The timeline as text: one line for each entry."""
    yield f"{plan.title}: {kept.run}"
    yield headline(line)
    yield from (f"{result.question} {result.answer} ({result.detail})" for result in results(line))
    yield ""
    for entry in kept.entries():
        elapsed = after(parse_iso(entry.at) - line.measured.since)
        yield f"{entry.seq:6}  {entry.at}  {elapsed:>11}  {entry.actor:10}  {sentence(entry.event)}"


def _copies(folder: Path) -> Iterator[Copy]:
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        yield Copy(path.relative_to(folder).as_posix(), path.stat().st_size, sha256)
