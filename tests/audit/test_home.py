"""A journal whose home is a store: written there before anything counts, gone on with anywhere, by one process."""

import pytest

from dr.audit import lock
from dr.audit.journal import Draft
from dr.core import events as e
from dr.errors import EnvironmentHeld, HomeUnreachable, JournalHeld, NoSuchRun
from tests.audit.homes import DRILL, OTHER, PLAN, Machine, lines, write
from tests.audit.written import ME, RUN, drafts
from tests.memory_store import ALWAYS, Bucket, Fault

RESUMED = Draft("2023-05-15T14:00:01.000000Z", "ada", e.RunResumed(host="h"))


def test_an_entry_is_at_home_when_append_returns(here: Machine, home: Bucket) -> None:
    """Safety rule 1."""
    here.begin(5)
    assert home.lines(RUN) == lines(here.stored())
    assert len(home.lines(RUN)) == 5
    assert home.first(f"runs/{RUN}/plan.json") == PLAN


def test_entries_of_one_append_are_one_object(here: Machine, home: Bucket) -> None:
    _, journal = here.begin(1)
    journal.append(drafts()[1:4])
    assert home.keys(f"runs/{RUN}/entries/") == [f"runs/{RUN}/entries/{seq:010d}.jsonl" for seq in (0, 1)]


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.REFUSED, Fault.LOST, Fault.LOST_ANSWER])
def test_a_home_that_fails_stops_the_run_before_the_effect_and_the_next_process_goes_on(
    fault: Fault, here: Machine, home: Bucket
) -> None:
    """Safety rules 1 and 8: also where the entry may have been stored."""
    book, journal = here.begin(3)
    here.home.on("create", fault, key="/entries/")
    with pytest.raises(HomeUnreachable, match="cannot be reached"):
        journal.append(drafts()[3:4])
    book.leave(journal, ended=False)
    journal, _ = here.book().resume(here.stored(), ME)
    assert home.lines(RUN) == lines(here.stored())
    assert len(home.lines(RUN)) == 4
    write(journal, [RESUMED])
    assert len(home.lines(RUN)) == 5


def test_a_journal_whose_home_has_failed_takes_no_more(here: Machine) -> None:
    _, journal = here.begin(3)
    here.home.on("create", Fault.LOST, key="/entries/")
    with pytest.raises(HomeUnreachable):
        journal.append(drafts()[3:4])
    with pytest.raises(Exception, match="takes no more entries"):
        journal.append(drafts()[4:5])


@pytest.mark.parametrize("call", ["create", "list"])
def test_no_run_is_started_while_the_home_cannot_be_reached(call: str, here: Machine) -> None:
    here.home.on(call, Fault.UNREACHABLE, nth=ALWAYS)  # type: ignore[arg-type]
    with pytest.raises(HomeUnreachable) as caught:
        here.book().create(RUN, PLAN, DRILL, ME)
    assert caught.value.stands == "nothing was touched; no run was started"
    assert not here.stored().directory.exists()
    here.home.calm()
    here.begin(1)


def test_a_plan_of_another_run_of_that_name_is_not_written_over(here: Machine, home: Bucket) -> None:
    home.put(f"runs/{RUN}/plan.json", b"{}")
    with pytest.raises(JournalHeld, match="another process"):
        here.book().create(RUN, PLAN, DRILL, ME)
    assert not here.stored().directory.exists()


@pytest.mark.parametrize("name", [".", "x" * 300])
def test_an_object_called_as_no_run_can_be_keeps_nobody_from_the_runs(
    name: str, here: Machine, there: Machine, home: Bucket
) -> None:
    """Under Object Lock it would stay in the bucket for years. That nobody has begun it is said all the same."""
    here.whole_run()
    home.put(f"runs/{name}/entries/0000000000.jsonl", home.lines(RUN)[0] + b"\n")
    for machine in (here, there):
        assert [stored.run for stored in machine.book().runs()] == [RUN]
        assert machine.book().find("latest").run == RUN
    found = there.book().compare_ledger()
    assert found is not None
    assert any("is unknown to the ledger" in what for what in found.tampered)
    assert {path.name for path in there.place.iterdir()} <= {"runs", "locks"}


# Going on elsewhere


def test_a_run_is_gone_on_with_from_nothing_but_the_home(here: Machine, there: Machine, home: Bucket) -> None:
    book, journal = here.begin(7)
    journal.checkpoint("2023-05-15T14:00:00.000000Z", "ada")
    book.leave(journal, ended=False)
    elsewhere = there.book()
    assert [stored.run for stored in elsewhere.runs()] == [RUN]
    stored = elsewhere.find("latest")
    assert stored.directory.is_relative_to(there.place)
    journal, torn = elsewhere.resume(stored, ME)
    assert torn is None
    write(journal, [RESUMED, *drafts()[7:]])
    elsewhere.leave(journal, ended=True)
    assert stored.verify()[0].size == 31
    assert home.lines(RUN) == lines(stored)
    assert stored.checkpoints() == here.stored().checkpoints()


def test_a_process_that_died_on_this_machine_is_known_to_be_dead(here: Machine, there: Machine) -> None:
    """From another directory, as another user would have it: no timer, and nothing to be said."""
    _, journal = here.begin(7)
    here.die(journal)
    book = there.book()
    journal, _ = book.resume(book.find(RUN), ME)
    assert journal.notices() == []


def test_a_run_whose_process_lives_is_not_gone_on_with_from_another_directory(here: Machine, there: Machine) -> None:
    _, journal = here.begin(7)
    book = there.book()
    with pytest.raises(JournalHeld, match="is held by"):
        book.resume(book.find(RUN), ME)
    write(journal, drafts()[7:])


def test_a_process_on_another_machine_is_taken_over_only_when_that_is_said_and_it_is_an_entry(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safety rule 7: and the process that was taken over is shut out by its next entry."""
    _, first = here.begin(7)
    monkeypatch.setattr(lock, "this_host", lambda: "elsewhere")
    with pytest.raises(JournalHeld) as caught:
        there.book().resume(there.book().find(RUN), ME)
    assert "--take-over" in caught.value.hint
    book = there.book(take_over=True)
    second, _ = book.resume(book.find(RUN), ME)
    assert second.notices() == [e.TakenOver(holder=ME)]
    second.append([RESUMED])
    with pytest.raises(JournalHeld, match="another process has written"):
        first.append(drafts()[7:8])
    write(second, drafts()[7:])


def test_that_a_process_on_another_machine_is_dead_cannot_be_known(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a directory of the same name has a journal that nobody holds."""
    _, journal = here.begin(7)
    here.die(journal)
    monkeypatch.setattr(lock, "this_host", lambda: "elsewhere")
    with pytest.raises(JournalHeld):
        there.book().resume(there.book().find(RUN), ME)


def test_of_two_that_start_at_once_on_an_environment_one_does(here: Machine, there: Machine) -> None:
    create = there.home.create

    def overtake(key: str, data: bytes, *, within: float) -> None:
        there.home.create = create  # type: ignore[method-assign]
        here.begin(1)
        create(key, data, within=within)

    there.home.create = overtake  # type: ignore[method-assign]
    with pytest.raises(EnvironmentHeld, match=RUN):
        there.begin(1, OTHER)
    assert not there.stored(OTHER).directory.exists()


def test_a_run_that_was_let_go_of_is_gone_on_with_from_another_machine_without_a_ruling(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, journal = here.begin(7)
    book.leave(journal, ended=False)
    monkeypatch.setattr(lock, "this_host", lambda: "elsewhere")
    book = there.book()
    journal, _ = book.resume(book.find(RUN), ME)
    assert journal.notices() == []


@pytest.mark.parametrize("said", [{"take_over": True}, {}])
def test_of_two_that_go_on_at_once_exactly_one_does(
    said: dict[str, bool], here: Machine, there: Machine, home: Bucket
) -> None:
    """Safety rule 7: both have seen the same; the number of the next lock can be had once."""
    _, journal = here.begin(7)
    here.die(journal)
    first, second = here.book(**said), there.book(**said)  # type: ignore[arg-type]
    stored = second.find(RUN)

    class Faster(Exception):
        pass

    def overtake(*_: object, **__: object) -> None:
        there.home.create = create  # type: ignore[method-assign]
        first.resume(here.stored(), ME)
        create(*_, **__)  # type: ignore[arg-type]

    create = there.home.create
    there.home.create = overtake  # type: ignore[method-assign]
    with pytest.raises(JournalHeld):
        second.resume(stored, ME)
    assert len(home.keys(f"locks/{DRILL}/")) == 2


def test_a_local_copy_is_brought_up_to_date_when_the_run_has_gone_on_elsewhere(
    here: Machine, there: Machine, home: Bucket
) -> None:
    book, journal = here.begin(7)
    book.leave(journal, ended=False)
    book = there.book()
    journal, _ = book.resume(book.find(RUN), ME)
    write(journal, [RESUMED, *drafts()[7:]])
    book.leave(journal, ended=True)
    assert lines(here.book().find(RUN)) == home.lines(RUN)
    assert [stored.verify()[0].size for stored in here.book().runs()] == [31]


def test_what_was_written_here_and_not_at_home_is_delivered_when_the_run_is_gone_on_with(
    here: Machine, home: Bucket
) -> None:
    """As a kill between the local write and the one at home leaves it."""
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    local, _ = here.stored().resume(ME)
    local.append(drafts()[5:7])
    local.close()
    here.book().resume(here.stored(), ME)
    assert len(home.lines(RUN)) == 7


# The environment


def test_a_second_run_on_an_environment_is_refused_until_the_first_has_ended(
    here: Machine, there: Machine, home: Bucket
) -> None:
    book, journal = here.begin(29)
    for machine in (here, there):
        with pytest.raises(EnvironmentHeld, match=RUN) as caught:
            machine.book().create(OTHER, PLAN, DRILL, ME)
        assert f"dr show {RUN}" in caught.value.hint
        assert not machine.stored(OTHER).directory.exists()
    book.leave(journal, ended=False)
    with pytest.raises(EnvironmentHeld, match="no process works on it now") as caught:
        there.book().create(OTHER, PLAN, DRILL, ME)
    assert f"dr resume {RUN}" in caught.value.hint
    assert not home.keys(f"runs/{OTHER}/")
    journal, _ = (book := here.book()).resume(here.stored(), ME)
    write(journal, drafts()[29:])
    book.leave(journal, ended=True)
    there.begin(1, OTHER)


def test_a_run_is_not_gone_on_with_while_another_one_has_the_environment(here: Machine, there: Machine) -> None:
    there.begin(1, OTHER)
    local = here.stored()
    with pytest.raises(EnvironmentHeld, match=OTHER):
        here.begin(1)
    assert not local.directory.exists()


def test_another_environment_is_free(here: Machine, there: Machine) -> None:
    here.begin(3)
    there.book().create(OTHER, PLAN, "production", ME)


def test_an_environment_is_free_whose_run_ended_although_nobody_said_so(here: Machine, there: Machine) -> None:
    """The process was killed after the last entry."""
    _, journal = here.begin(30)
    here.die(journal)
    there.begin(1, OTHER)


def test_an_environment_is_free_whose_run_ended_here_although_home_has_not_heard(here: Machine) -> None:
    book, journal = here.begin(29)
    here.home.on("create", Fault.LOST, key="/entries/")
    with pytest.raises(HomeUnreachable):
        journal.append(drafts()[29:])
    book.leave(journal, ended=True)
    here.begin(1, OTHER)


def test_a_run_that_never_began_does_not_keep_its_environment_and_can_never_begin(
    here: Machine, there: Machine
) -> None:
    """Killed, or frozen, between its lock and its first entry: that entry's number is taken."""
    _, journal = here.begin(0)
    there.begin(1, OTHER)
    with pytest.raises(JournalHeld):
        journal.append(drafts()[:1])
    with pytest.raises(NoSuchRun, match="never started"):
        there.book().resume(there.book().find(RUN), ME)


def test_an_environment_is_taken_from_a_run_nobody_goes_on_with_and_its_process_is_shut_out(
    here: Machine, there: Machine, home: Bucket
) -> None:
    """Safety rule 7: an entry of both, by the operator's word."""
    book, journal = here.begin(5)
    taking = there.book(take_over=True)
    other = taking.create(OTHER, PLAN, DRILL, ME)
    assert write(other, drafts()[:1]) == [e.TakenOver(holder=f"the run {RUN}, which had not ended")]
    with pytest.raises(JournalHeld):
        journal.append(drafts()[5:6])
    book.leave(journal, ended=False)
    assert here.warnings == []
    write(other, drafts()[1:])
    taking.leave(other, ended=True)
    journal, _ = here.book().resume(here.stored(), ME)
    assert [type(entry.event) for entry in here.stored().entries()][-1] == e.TakenOver
    assert home.lines(RUN) == lines(here.stored())


def test_an_environment_is_not_taken_from_a_process_that_is_alive_here(here: Machine) -> None:
    here.begin(5)
    with pytest.raises(EnvironmentHeld):
        here.book(take_over=True).create(OTHER, PLAN, DRILL, ME)


def test_a_run_that_has_lost_an_entry_keeps_its_environment(here: Machine, there: Machine, home: Bucket) -> None:
    """Nobody knows its next number, so its process could not be shut out."""
    here.begin(5)
    home.remove(f"runs/{RUN}/entries/{2:010d}.jsonl")
    with pytest.raises(EnvironmentHeld):
        there.book(take_over=True).create(OTHER, PLAN, DRILL, ME)


def test_who_was_shut_out_keeps_what_nobody_took_aside(here: Machine, there: Machine) -> None:
    """What was written last was never at home, and nothing was done on the strength of it."""
    book, journal = here.begin(5)
    there.begin(1, OTHER, book=there.book(take_over=True))
    with pytest.raises(JournalHeld):
        journal.append(drafts()[5:7])
    book.leave(journal, ended=False)
    assert here.stored().verify()[0].size == 5
    assert len(list(here.stored().directory.glob("aside-5-*"))) == 2


def test_a_run_that_has_just_begun_keeps_its_environment(here: Machine, there: Machine) -> None:
    """The first entry comes while another process looks."""
    _, journal = here.begin(0)
    there.home.on("create", Fault.HANG, key=f"{RUN}/entries/")
    create = there.home.create

    def late(key: str, data: bytes, *, within: float) -> None:
        if RUN in key:
            there.home.calm()
            journal.append(drafts()[:1])
        create(key, data, within=within)

    there.home.create = late  # type: ignore[method-assign]
    with pytest.raises(EnvironmentHeld):
        there.book().create(OTHER, PLAN, DRILL, ME)
