"""A journal that goes on without its home, with mirrors that are late, or with copies that differ."""

import contextlib
from pathlib import Path

import pytest

from dr.audit import ledger
from dr.audit.copies import HERE
from dr.audit.journal import Draft
from dr.core import events as e
from dr.errors import EnvironmentHeld, HomeUnreachable, JournalBroken, JournalHeld, NoSuchRun, UsageError
from tests.audit.homes import HOME, MIRROR, OTHER, Machine, lines, write
from tests.audit.written import ME, RUN, drafts
from tests.memory_store import ALWAYS, Bucket, Fault

AT = "2023-05-15T14:00:01.000000Z"
RESUMED = Draft(AT, "ada", e.RunResumed(host="h"))
WHY = "the network is down"


@pytest.fixture
def here(place: Path, home: Bucket, mirror: Bucket) -> Machine:
    """A machine whose journal has a home and a mirror."""
    return Machine(place / "here", home, mirror)


@pytest.fixture
def there(place: Path, home: Bucket, mirror: Bucket) -> Machine:
    return Machine(place / "there", home, mirror)


# Without the home


def test_a_run_goes_on_without_its_home_when_that_is_said_and_it_is_an_entry(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    for call in ("create", "list", "read"):
        here.home.on(call, Fault.UNREACHABLE, nth=ALWAYS)
    with pytest.raises(HomeUnreachable) as caught:
        here.book().resume(here.stored(), ME)
    assert "--without-home" in caught.value.hint
    book = here.book(without_home=WHY)
    journal, _ = book.resume(here.stored(), ME)
    assert list(journal.notices()) == [e.HomeLeft(reason=WHY)]
    write(journal, [RESUMED, *drafts()[5:]])
    book.leave(journal, ended=True)
    assert len(home.lines(RUN)) == 5
    assert f"{HOME} has not heard of everything" in here.warnings[-1]


def test_what_home_has_not_heard_of_is_delivered_when_it_is_back(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(0, book=here.book(without_home=WHY))
    write(journal, drafts())
    journal.checkpoint(AT, "ada")
    book.leave(journal, ended=True)
    assert home.keys() == []
    assert list(here.book().sync(here.stored())) == [
        f"{HOME} has all 31 entries",
        f"{MIRROR} has all 31 entries",
    ]
    assert home.lines(RUN) == lines(here.stored())
    [found, _] = here.book().compare(here.stored())
    assert (found.tampered, found.missing) == ((), ())
    ledger = here.book().compare_ledger()
    assert ledger is not None
    assert (ledger.tampered, ledger.missing) == ((), ())


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LOST_ANSWER])
def test_a_delivery_that_breaks_off_is_finished_by_the_next_one(fault: Fault, place: Path) -> None:
    """At any put: also between the plan and the ledger, which must not call the run unknown then, or started twice."""
    for nth in range(1, 9):
        with Bucket() as home:
            machine = Machine(place / str(nth), home)
            book, journal = machine.begin(30, book=machine.book(without_home=WHY))
            journal.checkpoint(AT, "ada")
            book.leave(journal, ended=True)
            machine.home.on("create", fault, nth=(nth,))
            with contextlib.suppress(HomeUnreachable):
                machine.book().sync(machine.stored())
            machine.book().sync(machine.stored())
            found = machine.book().compare_ledger()
            assert found is not None
            assert found.tampered == ()
            assert machine.book().compare(machine.stored())[0].missing == ()
            lines, _ = ledger.read(machine.home)
            assert [line.what for line in lines] == ["started", "ended"]


def test_a_sync_of_an_ended_run_frees_its_environment_at_home(here: Machine, there: Machine) -> None:
    book, journal = here.begin(5)
    here.home.on("create", Fault.UNREACHABLE, key="/entries/", nth=ALWAYS)
    with pytest.raises(HomeUnreachable):
        write(journal, drafts()[5:6])
    book.leave(journal, ended=False)
    book = here.book(without_home=WHY)
    journal, _ = book.resume(here.stored(), ME)
    write(journal, drafts()[6:])
    book.leave(journal, ended=True)
    with pytest.raises(EnvironmentHeld):
        there.begin(1, OTHER)
    here.home.calm()
    for _ in range(2):  # a second time there is nothing left to do
        here.book().sync(here.stored())
    there.begin(1, OTHER)


def test_a_run_without_home_still_has_its_environment_on_this_machine(here: Machine) -> None:
    here.begin(3, book=here.book(without_home=WHY))
    with pytest.raises(EnvironmentHeld):
        here.begin(1, OTHER, book=here.book(without_home=WHY))


def test_entries_that_somebody_else_wrote_meanwhile_are_named_and_nothing_is_delivered(
    here: Machine, there: Machine, home: Bucket
) -> None:
    here.mirrors.clear()
    there.mirrors.clear()
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    left, resumed = here.book(without_home=WHY), there.book()
    journal, _ = left.resume(here.stored(), ME)
    write(journal, drafts()[5:8])
    left.leave(journal, ended=False)
    journal, _ = resumed.resume(resumed.find(RUN), ME)
    write(journal, [RESUMED])
    resumed.leave(journal, ended=False)
    before = home.lines(RUN)
    for attempt in (here.book().sync, lambda stored: here.book().resume(stored, ME)):
        with pytest.raises(JournalBroken, match=r"differ in entry 5: the local copy has .*; s3://memory/home has"):
            attempt(here.stored())
    assert home.lines(RUN) == before


def test_a_run_is_gone_on_with_from_a_mirror_when_home_is_lost(here: Machine, there: Machine, home: Bucket) -> None:
    book, journal = here.begin(7)
    book.leave(journal, ended=False)
    for call in ("create", "list", "read", "folders"):
        home.on(call, Fault.UNREACHABLE, nth=ALWAYS)
    book = there.book(without_home=WHY)
    journal, _ = book.resume(book.find("latest"), ME)
    write(journal, [RESUMED, *drafts()[7:]])
    assert there.stored().verify()[0].size == 32
    home.calm()
    book.leave(journal, ended=True)
    there.book().sync(there.stored())
    assert home.lines(RUN) == lines(there.stored())


def test_what_cannot_be_fetched_from_anywhere_is_said(
    here: Machine, there: Machine, home: Bucket, mirror: Bucket
) -> None:
    here.begin(3)
    for bucket in (home, mirror):
        bucket.on("read", Fault.UNREACHABLE, nth=ALWAYS)
    with pytest.raises(HomeUnreachable, match="could not be fetched"):
        there.book().find(RUN)
    assert not there.stored().directory.exists()
    for bucket in (home, mirror):
        bucket.on("folders", Fault.UNREACHABLE, nth=ALWAYS)
    with pytest.raises(HomeUnreachable, match=f"neither {HOME} nor a mirror can be read"):
        there.book().find(RUN)
    with pytest.raises(HomeUnreachable, match=f"neither {HOME} nor a mirror can be read"):
        there.book().runs()  # "there are no runs" would be a claim that nobody can make
    here.book().find("latest")
    with pytest.raises(NoSuchRun, match=f"and {HOME}"):
        here.book().find(OTHER)
    assert "unreachable by the test" in there.warnings[0]


# Mirrors


def test_a_mirror_has_what_home_has(here: Machine, home: Bucket, mirror: Bucket) -> None:
    here.whole_run()
    kept = home.keys("runs/")
    assert mirror.keys() == kept
    assert [mirror.first(key) for key in kept] == [home.first(key) for key in kept]


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.REFUSED, Fault.LOST])
def test_a_mirror_that_fails_holds_nobody_up_is_an_entry_and_catches_up_at_the_end(
    fault: Fault, here: Machine, home: Bucket, mirror: Bucket
) -> None:
    book, journal = here.begin(3)
    mirror.on("create", fault, key="0003")
    said = write(journal, drafts()[3:])
    assert [type(event) for event in said] == [e.CopyLate]
    assert len(mirror.lines(RUN)) == 3
    assert len(home.lines(RUN)) == 31
    book.leave(journal, ended=True)
    assert mirror.lines(RUN) == home.lines(RUN)
    assert here.warnings == []


def test_a_mirror_that_hangs_holds_a_run_up_once_for_its_deadline(
    here: Machine, mirror: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr.audit.replicas.MIRROR_WITHIN", 0.05)
    monkeypatch.setattr("dr.audit.replicas.in_time.__defaults__", (0.05,))
    book, journal = here.begin(3)
    mirror.on("create", Fault.HANG, nth=ALWAYS)
    mirror.on("list", Fault.HANG, nth=ALWAYS)
    said = write(journal, drafts()[3:])
    assert [event.copy for event in said if isinstance(event, e.CopyLate)] == [MIRROR]
    calls = len([call for call, _ in mirror.calls if call == "create"])
    assert calls == 5, "the plan, three entries, and the one that hangs"
    book.leave(journal, ended=True)
    assert f"the mirror {MIRROR} is behind" in here.warnings[0]
    assert f"dr audit sync {RUN}" in here.warnings[0]


def test_a_mirror_that_was_late_catches_up_when_the_run_is_gone_on_with(
    here: Machine, home: Bucket, mirror: Bucket
) -> None:
    _, journal = here.begin(3)
    mirror.on("create", Fault.REFUSED, nth=ALWAYS)
    write(journal, drafts()[3:6])
    here.die(journal)
    mirror.calm()
    journal, _ = here.book().resume(here.stored(), ME)
    write(journal, [RESUMED])
    assert mirror.lines(RUN) == home.lines(RUN)


def test_a_mirror_that_cannot_be_read_is_left_behind_and_that_is_an_entry(here: Machine, mirror: Bucket) -> None:
    book, journal = here.begin(3)
    book.leave(journal, ended=False)
    mirror.on("list", Fault.REFUSED)
    journal, _ = here.book().resume(here.stored(), ME)
    [late] = write(journal, [RESUMED])
    assert late == e.CopyLate(copy=MIRROR, why=f"{MIRROR}: refused by the test")


def test_a_mirror_that_is_away_is_said_by_sync_and_verify(here: Machine, mirror: Bucket) -> None:
    stored = here.whole_run()
    mirror.on("list", Fault.UNREACHABLE, nth=(1, 2))
    assert f"{MIRROR} is behind: " in here.book().sync(stored)[1]
    found = here.book().compare(stored)[1]
    assert found.missing == (f"it cannot be read: {MIRROR}: unreachable by the test",)


# Copies that differ


def changed_mirror(here: Machine, mirror: Bucket) -> None:
    """A run whose mirror holds another entry 4."""
    book, journal = here.begin(7)
    journal.checkpoint(AT, "ada")
    book.leave(journal, ended=False)
    key = f"runs/{RUN}/entries/{4:010d}.jsonl"
    mirror.replace(key, mirror.first(key).replace(b"ada", b"eve"))


def test_copies_that_differ_stop_the_run_and_the_entry_is_named(here: Machine, mirror: Bucket) -> None:
    changed_mirror(here, mirror)
    with pytest.raises(JournalBroken, match=r"the copies of .* differ in entry 4") as caught:
        here.book().resume(here.stored(), ME)
    assert "--trust" in caught.value.hint
    with pytest.raises(UsageError, match="no copy 's3://nowhere'"):
        here.book(trust="s3://nowhere").resume(here.stored(), ME)
    assert len(here.stored().checkpoints()) == 1


@pytest.mark.parametrize("trust", ["home", "local", f"{HOME}/"])
def test_a_ruling_is_an_entry_and_the_other_copy_is_left_as_it_is(
    trust: str, here: Machine, home: Bucket, mirror: Bucket
) -> None:
    changed_mirror(here, mirror)
    kept = dict(mirror.versions)
    journal, _ = here.book(trust=trust).resume(here.stored(), ME)
    said = write(journal, [RESUMED])
    trusted = HERE if trust == "local" else HOME
    assert said[0] == e.CopyTrusted(copy=trusted, entry=4, against=(MIRROR,))
    assert said[1:] == [e.CopyLate(copy=MIRROR, why="it has another entry 4")]
    assert mirror.versions == kept
    assert len(home.lines(RUN)) == 10


def test_a_local_copy_that_was_ruled_wrong_is_kept_aside(here: Machine, there: Machine, home: Bucket) -> None:
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    local, _ = here.stored().resume(ME)
    local.append(drafts()[5:7])
    local.checkpoint(AT, "ada")
    local.close()
    wrong = lines(here.stored())[5:]
    there.mirrors.clear()
    journal, _ = (book := there.book()).resume(there.book().find(RUN), ME)
    write(journal, [RESUMED])
    book.leave(journal, ended=False)
    journal, _ = (book := here.book(trust="home")).resume(here.stored(), ME)
    assert journal.notices() == [e.CopyTrusted(copy=HOME, entry=5, against=(HERE,))]
    assert lines(here.stored()) == home.lines(RUN)
    assert here.stored().checkpoints() == ()
    [aside] = [path for path in here.stored().directory.glob("aside-5-*") if path.suffix != ".checkpoints"]
    assert aside.read_bytes().split(b"\n")[:-1] == wrong
    assert aside.with_suffix(".checkpoints").read_bytes().count(b"\n") == 1


def test_home_is_never_overruled_but_gone_on_without(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    key = f"runs/{RUN}/entries/{4:010d}.jsonl"
    home.replace(key, home.first(key).replace(b"ada", b"eve"))
    with pytest.raises(JournalBroken, match="nothing there is ever replaced") as caught:
        here.book(trust="local").resume(here.stored(), ME)
    assert "--without-home" in caught.value.hint
    journal, _ = here.book(trust="local", without_home=WHY).resume(here.stored(), ME)
    write(journal, [RESUMED, *drafts()[5:]])
    assert here.stored().verify()[0].size == 32


def test_a_home_that_has_lost_an_entry_in_the_middle_stops_the_run(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(7)
    book.leave(journal, ended=False)
    home.remove(f"runs/{RUN}/entries/{4:010d}.jsonl")
    for trust in ("", "home"):
        with pytest.raises(JournalBroken, match=f"{HOME} has lost it"):
            here.book(trust=trust).resume(here.stored(), ME)


def test_a_checkpoint_that_does_not_fit_stops_the_run(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(7)
    journal.checkpoint(AT, "ada")
    book.leave(journal, ended=False)
    [key] = home.keys(f"runs/{RUN}/checkpoints/")
    home.replace(key, home.first(key).replace(b'"head":"', b'"head":"f')[:-1])
    with pytest.raises(JournalBroken, match="does not verify, over all its copies"):
        here.book().resume(here.stored(), ME)


def test_what_a_crash_left_unfinished_is_for_resume_to_settle(here: Machine) -> None:
    _, journal = here.begin(5)
    here.die(journal)
    with (here.stored().directory / "journal.jsonl").open("ab") as file:
        file.write(b'{"prev":')
    assert "unfinished entry" in here.book().sync(here.stored())[0]
    assert here.book().find(RUN).verify()[1] is not None
    journal, torn = here.book().resume(here.stored(), ME)
    assert torn is not None


def test_a_local_copy_that_differs_is_left_for_whoever_verifies(here: Machine, home: Bucket) -> None:
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    key = f"runs/{RUN}/entries/{4:010d}.jsonl"
    home.replace(key, home.first(key).replace(b"ada", b"eve"))
    home.put(f"runs/{RUN}/entries/{5:010d}.jsonl", b"{}\n")
    assert lines(here.book().find(RUN))[4] != home.lines(RUN)[4]
    assert "differ in entry 4" in here.warnings[0]
    home.on("list", Fault.UNREACHABLE)
    here.book().find(RUN)
    assert "unreachable" in here.warnings[1]


def test_the_end_of_a_run_that_the_ledger_does_not_know_is_said_and_brought_by_sync(here: Machine) -> None:
    here.home.on("create", Fault.REFUSED, key="ledger/", nth=(2,))
    stored = here.whole_run()
    assert "is not in the ledger" in here.warnings[0]
    here.home.on("create", Fault.REFUSED, key="ledger/")
    with pytest.raises(HomeUnreachable):
        here.book().sync(stored)
    here.book().sync(stored)
    here.home.bucket.remove(f"runs/{RUN}/checkpoints/")
    here.home.bucket.remove(f"runs/{RUN}/entries/{29:010d}.jsonl")
    found = here.book().compare_ledger()
    assert found is not None
    assert found.tampered == (f"the run {RUN} ends after entry 28: the ledger knows 30 entries",)


def test_a_lock_that_cannot_be_released_is_said(here: Machine) -> None:
    here.home.on("create", Fault.REFUSED, key="closed")
    here.whole_run()
    assert here.warnings == [
        f"the lock of drill was not released in {HOME}: {HOME}: refused by the test; later: dr audit sync {RUN}"
    ]


def test_a_run_that_has_not_ended_is_synced_too(here: Machine, mirror: Bucket) -> None:
    book, journal = here.begin(5)
    book.leave(journal, ended=False)
    mirror.remove(f"runs/{RUN}/")
    here.book().sync(here.stored())
    assert len(mirror.lines(RUN)) == 5
    assert [stored.run for stored in here.book().runs()] == [RUN]


def test_a_live_run_is_not_synced_by_another_process_and_lacks_nothing(here: Machine, mirror: Bucket) -> None:
    _, journal = here.begin(5)
    mirror.remove(f"runs/{RUN}/")
    with pytest.raises(JournalHeld):
        here.book().sync(here.stored())
    assert [found.missing for found in here.book().compare(here.stored())] == [(), ()]
    journal.close()
    assert here.book().compare(here.stored())[1].missing == ("the plan is not there", "entries 0-4: not there")


def test_a_home_that_cannot_be_read_is_said(here: Machine) -> None:
    stored = here.whole_run()
    here.home.on("list", Fault.UNREACHABLE, nth=ALWAYS)
    for ask in (lambda: here.book().compare(stored), here.book().compare_ledger, lambda: here.book().sync(stored)):
        with pytest.raises(HomeUnreachable):
            ask()


def test_home_is_asked_who_this_is(here: Machine) -> None:
    assert here.book().caller().startswith("arn:")
    assert here.book(without_home=WHY).caller() == ""
