"""A journal that has no home but the local directory: its environments are owned all the same."""

from pathlib import Path

import pytest

from dr.audit.book import LocalBook
from dr.audit.here import HereBook
from dr.audit.journal import Journal
from dr.core import events as e
from dr.errors import EnvironmentHeld, JournalBroken, JournalHeld, JournalUnwritable
from tests.audit.homes import DRILL, OTHER, PLAN, lines, write
from tests.audit.written import ME, RUN, drafts


def book(place: Path) -> HereBook:
    return HereBook(LocalBook(place))


def begin(place: Path, size: int, run: str = RUN) -> tuple[HereBook, Journal]:
    opened = book(place)
    journal = opened.create(run, PLAN, DRILL, ME)
    write(journal, drafts()[:size])
    return opened, journal


def test_a_second_run_on_an_environment_is_refused_until_the_first_has_ended(place: Path) -> None:
    opened, journal = begin(place, 29)
    said = f"{RUN} has not ended on the environment {DRILL}.*{ME} is working on it"
    with pytest.raises(EnvironmentHeld, match=said) as refused:
        begin(place, 1, OTHER)
    assert refused.value.hint == f"dr show {RUN}   (and wait until that process has ended)"
    assert [stored.run for stored in opened.runs()] == [RUN]
    write(journal, drafts()[29:])
    opened.leave(journal, ended=True)
    begin(place, 1, OTHER)


def test_a_run_that_was_killed_keeps_its_environment_and_is_gone_on_with(place: Path) -> None:
    opened, journal = begin(place, 5)
    journal.close()
    with pytest.raises(EnvironmentHeld) as refused:
        begin(place, 1, OTHER)
    assert f"then dr resume {RUN}" in refused.value.hint
    journal, torn = opened.resume(opened.find("latest"), ME)
    assert torn is None
    assert len(lines(opened.find(RUN))) == 5


def test_a_run_is_gone_on_with_by_one_process(place: Path) -> None:
    """Safety rule 7."""
    begin(place, 5)
    with pytest.raises(JournalHeld):
        book(place).resume(book(place).find(RUN), ME)


def test_a_run_is_not_gone_on_with_while_another_one_has_its_environment(place: Path) -> None:
    _, first = begin(place, 5)
    first.close()
    elsewhere = place / "elsewhere"
    begin(elsewhere, 1, OTHER)
    (place / "runs" / RUN).rename(elsewhere / "runs" / RUN)
    with pytest.raises(EnvironmentHeld, match=OTHER):
        book(elsewhere).resume(book(elsewhere).find(RUN), ME)
    assert not book(elsewhere).find(RUN).is_held()


def test_a_run_that_never_began_keeps_no_environment(place: Path) -> None:
    _, journal = begin(place, 0)
    with pytest.raises(EnvironmentHeld):
        begin(place, 1, OTHER)
    journal.close()
    begin(place, 1, OTHER)


def test_a_run_that_was_removed_keeps_no_environment(place: Path) -> None:
    _, journal = begin(place, 5)
    journal.close()
    (place / "runs" / RUN).rename(place / "removed")
    begin(place, 1, OTHER)


def test_an_environment_is_taken_from_a_run_nobody_goes_on_with_and_that_is_an_entry(place: Path) -> None:
    opened, journal = begin(place, 5)
    taking = HereBook(LocalBook(place), take_over=True)
    with pytest.raises(EnvironmentHeld):
        taking.create(OTHER, PLAN, DRILL, ME)  # its process is alive
    journal.close()
    journal = taking.create(OTHER, PLAN, DRILL, ME)
    assert write(journal, drafts()[:1]) == [e.TakenOver(holder=f"the run {RUN}, which had not ended")]
    with pytest.raises(EnvironmentHeld, match=OTHER):
        HereBook(LocalBook(place), take_over=True).resume(opened.find(RUN), ME)
    write(journal, drafts()[1:])
    taking.leave(journal, ended=True)
    opened.resume(opened.find(RUN), ME)


def test_a_lock_that_cannot_be_written_is_said_and_no_run_is_started(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "locks").write_text("a file where a folder should be")
    with pytest.raises(JournalUnwritable, match="the lock of the environment drill cannot be written"):
        begin(place, 1)
    assert not (place / "runs" / RUN).exists()


def test_a_lock_that_cannot_be_read_is_said(place: Path) -> None:
    opened, journal = begin(place, 30)
    opened.leave(journal, ended=True)
    [lock] = (place / "locks" / DRILL).glob("*0.json")
    lock.write_text("what")
    with pytest.raises(JournalBroken, match="the lock of the environment drill cannot be read"):
        begin(place, 1, OTHER)
    lock.unlink()
    with pytest.raises(JournalBroken):
        begin(place, 1, OTHER)
    (place / "locks" / DRILL / f"{7:010d}.json").mkdir()
    with pytest.raises(JournalUnwritable):
        begin(place, 1, OTHER)


def test_there_is_nobody_to_ask_and_nothing_to_compare(place: Path) -> None:
    opened, _ = begin(place, 1)
    assert opened.caller() == ""
    assert opened.compare(opened.find(RUN)) == ()
    assert opened.compare_ledger() is None
    assert opened.sync(opened.find(RUN)) == ()
