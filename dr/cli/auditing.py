"""`audit`: is the journal whole, who signed it, and the evidence for somebody who trusts none of us."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import click

from dr.audit.allowed_signers import AllowedSigners
from dr.audit.disk import create_whole
from dr.audit.here import Book
from dr.audit.replay import Folded, begun, fold
from dr.audit.stored import StoredRun
from dr.audit.verdict import Verdict
from dr.cli.copies import display_fault, raise_difference, sync
from dr.cli.entries import audit_show
from dr.cli.identity import author, signers
from dr.cli.journal import book, book_to_read, journal_option
from dr.cli.options import config_option, run_argument, signers_option
from dr.cli.streams import display
from dr.core import state as s
from dr.core.timestamp import iso
from dr.errors import (
    DrError,
    EvidenceIncomplete,
    JournalBroken,
    JournalUnreadable,
    NoSuchRun,
    SigningFailed,
    Unverifiable,
    UsageError,
)
from dr.report.words import standing
from dr.runs import this_process
from dr.secrets import Secrets

REPLAY_UP_TO = 20_000
"""Entries up to which `audit verify` also replays the run without being asked: about 0.1 s."""


@click.group(epilog="\b\nExamples:\n  dr audit verify latest\n  dr audit show latest --json\n  dr audit export latest")
def audit() -> None:
    """Verify and read the journal, and hand over the evidence."""


audit.add_command(audit_show)
audit.add_command(sync)


@audit.command(
    epilog="""\b
Examples:
  dr audit verify latest
  dr audit verify --all --allowed-signers /mnt/auditor/allowed_signers"""
)
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="Verify every run of the journal.")
@click.option(
    "--replay/--no-replay", default=None, help=f"Also replay the run; by default up to {REPLAY_UP_TO} entries."
)
@click.option("--allow-unsigned", is_flag=True, help="A run that was started unsigned is well, whoever may sign.")
@signers_option
@journal_option
@config_option
def verify(
    run_name: str | None,
    every: bool,
    replay: bool | None,
    allow_unsigned: bool,
    allowed_signers: Path | None,
    journal: Path | None,
    config: Path,
) -> None:
    """Verify that nothing was changed, added, moved or removed, and who says so.

    Always: each entry follows the one before it by hash and number, the checkpoints agree, their signatures are good
    and of somebody whose signatures are accepted, and the plan is the one the run was started with. Replayed: every
    entry can follow the one before it by the rules of a run.
    """
    if every == bool(run_name):
        raise UsageError("name a run or give --all", hint="dr runs")
    found, accepted = book_to_read(config, journal), signers(config, allowed_signers)
    if not every:
        _verify(found, found.find(run_name or ""), replay, accepted, allow_unsigned=allow_unsigned)
        return
    errors: list[DrError] = []
    chosen = found.runs()
    if not chosen:
        display(f"there are no runs yet in {found.directory}")
    for stored in chosen:
        try:
            _verify(found, stored, replay, accepted, allow_unsigned=allow_unsigned)
        except NoSuchRun:
            display(f"{stored.run}: has no entry, was never started")
        except (EvidenceIncomplete, Unverifiable) as error:
            errors.append(error)
        except DrError as error:
            errors.append(error)
            word = "UNREADABLE" if isinstance(error, JournalUnreadable) else "BROKEN"
            display_fault(f"{stored.run}: {word}", error)
    try:
        ledger = found.compare_ledger()
        raise_difference("the ledger", "dr audit sync --all", [ledger] if ledger else [])
    except EvidenceIncomplete as error:
        errors.append(error)
        display_fault("ledger: INCOMPLETE", error)
    except JournalBroken as error:
        errors.append(error)
        display_fault("ledger: BROKEN", error)
    _raise_worst(errors)


@audit.command(epilog="\b\nExamples:\n  dr audit export latest\n  dr audit export 20230515T1445 -o evidence.tar.gz")
@run_argument
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="By default RUN.tar.gz.")
@signers_option
@journal_option
@config_option
def export(
    run_name: str, output: Path | None, allowed_signers: Path | None, journal: Path | None, config: Path
) -> None:
    """Write an evidence pack: the run, its signatures, and what verifies them without dr.

    The same run gives the same bytes. An existing file is never written over.
    """
    from dr.report.export import export as make  # reads every entry in words: only for this command

    stored = book_to_read(config, journal).find(run_name)
    pack, verdict = make(stored, signers(config, allowed_signers))
    path = output or Path(f"{stored.run}.tar.gz")
    try:
        create_whole(path, pack)
    except OSError as error:
        raise UsageError(
            f"the pack cannot be written: {path}: {error.strerror}", stands="the run was only read"
        ) from None
    display(f"{path}: {len(pack):,} bytes; {verdict.standing}, {_signed(verdict)}")
    if not isinstance(fold(stored).state, s.Ended):
        display("the run has not ended, so its verifier calls it incomplete: export it again when it has")
    trusted = " --allowed-signers FILE" if verdict.signed else ""
    display(f"to verify it without dr: tar xzf {shlex.quote(str(path))} && python3 -I {stored.run}/verify.py{trusted}")


@audit.command(epilog="\b\nExamples:\n  dr audit sign latest")
@run_argument
@journal_option
@config_option
def sign(run_name: str, journal: Path | None, config: Path) -> None:
    """Sign a run that has ended, where its last signature is missing or a second person vouches for it."""
    found = book(config, journal)
    stored = found.find(run_name)
    who = author(config, Secrets(), "")
    if who.signing is None:
        raise SigningFailed("dr.toml does not say who signs", stands="nothing was signed", hint="[signing] in dr.toml")
    if not isinstance(fold(stored).state, s.Ended):
        raise UsageError(
            f"the run {stored.run} has not ended", stands="nothing was signed", hint=f"dr resume {stored.run}"
        )
    stored.judge(who.signing.allowed)
    opened, _ = stored.resume(this_process(), who.seal)
    try:
        opened.checkpoint(iso(time.time()), who.name)
    finally:
        opened.close()
    display(f"{stored.run}: signed by {who.name} ({who.signer})")
    for line in found.sync(stored):
        display(f"{stored.run}: {line}")


def _verify(
    found: Book, stored: StoredRun, replay: bool | None, accepted: AllowedSigners | None, *, allow_unsigned: bool
) -> None:
    """Say what was verified, here and in the other copies; raise what is wrong with it."""
    verdict, torn = stored.judge(accepted, allow_unsigned=allow_unsigned)
    begun(stored)
    folded = fold(stored) if (verdict.head.size <= REPLAY_UP_TO if replay is None else replay) else None
    marks = verdict.checkpoints
    notes = [f"{verdict.head.size} entries", f"head {verdict.head.hash[:16]}"]
    notes.append(f"{marks} checkpoint{'s' if marks != 1 else ''}")
    notes.append("replayed" if folded else "not replayed (--replay does)")
    if torn is not None:
        notes.append(f"an unfinished entry of {torn.bytes} bytes at the end, as a crash leaves it")
    if folded and not isinstance(folded.state, s.Ended):
        notes.append(f"the run has not ended: {standing(folded.plan, folded.state)}")
    display(f"{stored.run}: {_WORDS[verdict.standing]}; {', '.join(notes)}; {_signed(verdict)}")
    for line in _told(verdict):
        display(f"  {line}")
    copies = found.compare(stored)
    for copy in copies:
        display(f"  {copy.where}: {'DIFFERS' if copy.tampered else 'INCOMPLETE' if copy.missing else 'the same'}")
    raise_difference(f"the run {stored.run}", f"dr audit sync {stored.run}", copies)
    _raise_shortfall(stored.run, verdict, folded)


_WORDS = {"well": "verified", "incomplete": "INCOMPLETE", "unverifiable": "NOT JUDGED"}


def _signed(verdict: Verdict) -> str:
    if not verdict.signed:
        return "unsigned"
    return "signed" if verdict.judged else "its signatures were not judged"


def _told(verdict: Verdict) -> Iterator[str]:
    if verdict.expected:
        yield from verdict.behind()
        yield from verdict.notes


def _raise_shortfall(run: str, verdict: Verdict, folded: Folded | None) -> None:
    if verdict.standing == "incomplete":
        sign, resume = f"dr audit sign {run}", f"dr resume {run}"
        if folded is None:
            hint = f"{sign}, or if it has not ended: {resume}"
        else:
            hint = sign if isinstance(folded.state, s.Ended) else resume
        raise EvidenceIncomplete(
            f"the evidence of {run} is not complete: " + "\n  ".join(verdict.incomplete),
            stands="nothing was found changed; what is only behind the chain could have been rewritten",
            hint=hint,
        )
    if verdict.standing == "unverifiable":
        raise Unverifiable(
            f"the signatures of {run} cannot be judged: nobody has said whose are accepted",
            stands="the chain holds, and the signatures fit it",
            hint=f"dr audit verify {run} --allowed-signers FILE",
        )


def _raise_worst(errors: list[DrError]) -> None:
    """What to say of all runs together: the worst that was found, and of how many of them."""
    incomplete = [error for error in errors if isinstance(error, EvidenceIncomplete)]
    unverifiable = [error for error in errors if isinstance(error, Unverifiable)]
    unreadable = [error for error in errors if isinstance(error, JournalUnreadable)]
    broken = len(errors) - len(incomplete) - len(unverifiable) - len(unreadable)
    if broken:
        raise JournalBroken(
            f"{broken} of the runs do not verify", stands="nothing was touched", hint="dr audit verify RUN"
        )
    if unreadable:
        raise JournalUnreadable(
            f"{len(unreadable)} of the runs cannot be read", stands="nothing was touched", hint=unreadable[0].hint
        )
    if incomplete:
        raise EvidenceIncomplete(
            f"the evidence of {len(incomplete)} of the runs is not complete", hint="dr audit verify RUN"
        )
    if unverifiable:
        raise Unverifiable(
            f"the signatures of {len(unverifiable)} of the runs cannot be judged", hint="give --allowed-signers FILE"
        )
