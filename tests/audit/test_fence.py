"""The fence has a hole, in S3 itself: behind a delete marker a second creation succeeds. Who went through is found."""

import pytest

from dr.audit.journal import Draft
from dr.core import events as e
from dr.errors import JournalBroken
from tests.audit.homes import Machine, lines, write
from tests.audit.written import ME, RUN, drafts
from tests.memory_store import Bucket

RESUMED = Draft("2023-05-15T14:00:01.000000Z", "ada", e.RunResumed(host="there"))


@pytest.fixture
def through(here: Machine, there: Machine, home: Bucket) -> None:
    """A process that was taken over, and wrote on behind a delete marker on its successor's first entry."""
    _, ours = here.begin(5)
    journal, _ = there.book(take_over=True).resume(there.book().find(RUN), ME)
    write(journal, [RESUMED])
    there.die(journal)
    home.mark_deleted(f"runs/{RUN}/entries/0000000005.jsonl")
    write(ours, drafts()[5:6])
    here.die(ours)


@pytest.mark.usefixtures("through")
def test_it_is_found_by_whoever_verifies(here: Machine, there: Machine) -> None:
    (found,) = there.book().compare(there.stored())
    assert "entry 5: 1 later version and 1 delete marker put on top of the first version" in found.tampered[0]
    (found,) = here.book().compare(here.stored())
    assert "entry 5: another one than here" in found.tampered


@pytest.mark.usefixtures("through")
def test_it_cannot_go_on(here: Machine) -> None:
    before = lines(here.stored())
    with pytest.raises(JournalBroken, match="entry 5"):
        here.book(take_over=True).resume(here.stored(), ME)
    assert lines(here.stored()) == before


@pytest.mark.usefixtures("through")
def test_its_successor_goes_on_as_if_nothing_had_happened(there: Machine, home: Bucket) -> None:
    journal, _ = there.book(take_over=True).resume(there.stored(), ME)
    write(journal, [RESUMED])
    assert home.lines(RUN) == lines(there.stored())
    there.die(journal)
