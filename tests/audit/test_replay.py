"""A stored run read back, and what keeps it from being gone on with."""

from pathlib import Path

import msgspec
import pytest

from dr.audit.book import LocalBook
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN, Draft
from dr.audit.replay import begun, fold
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import digest, encode_plan
from dr.errors import JournalBroken, NoSuchRun, PlanChanged
from tests.audit.written import ME, NINE, RUN, create, drafts
from tests.simulated.plans import plan, step

OTHER = encode_plan(plan(step("other")))


def test_a_run_is_read_back_to_where_it_stands(stored: StoredRun) -> None:
    folded = fold(stored)
    assert folded.plan == NINE
    assert folded.state == s.Ended("completed", "well")
    assert (folded.first.seq, folded.last.seq) == (0, 29)


def test_a_run_is_pinned_to_the_plan_it_was_started_with(stored: StoredRun) -> None:
    """Safety rule 11. An edited plan is not run, and one put in its place neither."""
    for content in (OTHER, encode_plan(NINE).replace(b'"attempts":3', b'"attempts":9')):
        (stored.directory / PLAN).write_bytes(content)
        for read in (begun, fold):
            with pytest.raises(PlanChanged, match="is not the one it was started with"):
                read(stored)


def test_a_run_whose_plan_and_first_entry_were_edited_together_does_not_verify(stored: StoredRun) -> None:
    """Safety rule 11. The digest in the first entry is held by the chain."""
    journal = stored.directory / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(digest(encode_plan(NINE)).encode(), digest(OTHER).encode()))
    (stored.directory / PLAN).write_bytes(OTHER)
    with pytest.raises(JournalBroken, match="entry 1: it does not follow entry 0"):
        stored.verify()


def test_a_plan_of_another_format_is_told(place: Path) -> None:
    raw = b'{"format":2}'
    journal = LocalBook(place).create(RUN, raw, ME)
    started = msgspec.structs.replace(drafts()[0].event, plan=digest(raw))
    journal.append([Draft("now", "ada", started)])
    journal.close()
    with pytest.raises(PlanChanged, match="is of another format"):
        fold(LocalBook(place).find(RUN))


@pytest.mark.parametrize("entries", [0, 1])
def test_a_run_without_its_first_entry_was_never_started(place: Path, entries: int) -> None:
    journal = create(place)
    if entries:
        journal.append([Draft("now", "ada", e.RunResumed())])
    journal.close()
    with pytest.raises(NoSuchRun, match="was never started"):
        fold(LocalBook(place).find(RUN))


def test_a_journal_that_was_emptied_is_not_taken_for_a_run_that_was_never_started(stored: StoredRun) -> None:
    (stored.directory / JOURNAL).write_bytes(b"")
    assert (stored.directory / CHECKPOINTS).exists()
    with pytest.raises(JournalBroken, match="is empty, but a checkpoint knows 30 entries"):
        fold(stored)


def test_an_entry_that_cannot_follow_is_named_although_the_chain_holds(stored: StoredRun) -> None:
    """Somebody who may write the file can make up entries with the right hashes; but not ones that make sense."""
    journal, _ = stored.resume("mallory")
    journal.append([Draft("now", "mallory", e.StepDone(step="a", attempt=1))])
    journal.close()
    stored.verify()
    with pytest.raises(JournalBroken, match="entry 30: step-done of a cannot follow: the run is ended"):
        fold(stored)
