"""Copies in a store held against the local one: each attack is seen, and the entry is named."""

import itertools
from pathlib import Path

import pytest

from dr.audit import chain, ledger
from dr.audit.comparison import Comparison, compare
from dr.audit.copies import entries_key, fetch, local_copy
from tests.audit.homes import HOME, OTHER, PLAN, Machine
from tests.audit.written import RUN
from tests.memory_store import Bucket

ENTRIES = range(30)
PAIRS = list(itertools.combinations(ENTRIES, 2))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A run of thirty entries, each an object of its own, with a checkpoint at its end."""
    machine = Machine(tmp_path_factory.mktemp("written"), Bucket())
    machine.whole_run()
    return machine


@pytest.fixture
def home(written: Machine) -> Bucket:
    """A copy of its home, to attack."""
    return written.home.bucket.copy()


def key(number: int) -> str:
    return entries_key(RUN, number)


def found(written: Machine, home: Bucket) -> Comparison:
    """What is found in an attacked home, by somebody who has a good local copy."""
    return compare(RUN, local_copy(written.stored()), fetch(home.store(HOME), RUN))


def told(written: Machine, home: Bucket) -> str:
    """The same, which must be called tampering."""
    seen = found(written, home)
    assert seen.tampered, seen
    return "\n".join(seen.tampered)


def test_an_untouched_home_is_the_same(written: Machine, home: Bucket) -> None:
    assert found(written, home) == Comparison(where=HOME)


def test_a_later_version_on_any_object_is_named(written: Machine, home: Bucket) -> None:
    for name in home.keys(f"runs/{RUN}/"):
        attacked = home.copy()
        attacked.put(name, b"forged\n")
        seen = told(written, attacked)
        assert "1 later version put on top of the first version" in seen
        assert named(name) in seen


def test_a_delete_marker_on_any_object_is_named(written: Machine, home: Bucket) -> None:
    for name in home.keys(f"runs/{RUN}/"):
        attacked = home.copy()
        attacked.mark_deleted(name)
        attacked.mark_deleted(name)
        seen = told(written, attacked)
        assert "2 delete markers put on top of the first version" in seen
        assert named(name) in seen


def named(name: str) -> str:
    """The beginning of what is said about an object."""
    if "/entries/" in name:
        return f"entry {int(name[-16:-6])}: "
    if "/checkpoints/" in name:
        return "the checkpoint of size 30: "
    return "the plan: " if name.endswith("plan.json") else f"{name}: "


def test_each_entry_that_was_removed_is_named(written: Machine, home: Bucket) -> None:
    for number in ENTRIES:
        attacked = home.copy()
        attacked.remove(key(number))
        seen = told(written, attacked)
        assert seen.startswith(f"entry {number}: {'missing' if number < 29 else 'cut off'}")


def test_each_entry_of_which_only_a_delete_marker_is_left_is_named(written: Machine, home: Bucket) -> None:
    for number in ENTRIES:
        attacked = home.copy()
        attacked.remove(key(number))
        attacked.mark_deleted(key(number))
        assert f"entry {number}: it was removed; only a delete marker is left" in told(written, attacked)


def test_each_pair_of_entries_that_was_removed_is_seen(written: Machine, home: Bucket) -> None:
    for first, second in PAIRS:
        attacked = home.copy()
        attacked.remove(key(first))
        attacked.remove(key(second))
        seen = told(written, attacked)
        last = first + 1 if second > first + 1 else second + 1
        span = f"entry {first}" if last == first + 1 else f"entries {first}-{last - 1}"
        assert seen.startswith((f"{span}: missing", f"{span}: cut off", f"entry {first}: missing"))


def test_a_tail_that_was_cut_at_any_length_is_seen(written: Machine, home: Bucket) -> None:
    for length in ENTRIES:
        for number in range(29, length - 1, -1):
            home.remove(key(number))
        cut = "entry 29" if length == 29 else f"entries {length}-29"
        assert f"{cut}: cut off; a checkpoint there knows 30 entries" in told(written, home.copy())
        home = written.home.bucket.copy()


def test_a_tail_that_was_cut_with_its_checkpoint_is_incomplete_and_the_ledger_knows(
    written: Machine, home: Bucket
) -> None:
    home.remove(f"runs/{RUN}/checkpoints/")
    for number in range(20, 30):
        home.remove(key(number))
    seen = found(written, home)
    assert seen.tampered == ()
    assert seen.missing == ("entries 20-29: not there",)
    assert of_ledger(home) == (f"the run {RUN} ends after entry 19: the ledger knows 30 entries",)


def test_each_two_entries_that_were_swapped_are_seen(written: Machine, home: Bucket) -> None:
    for first, second in PAIRS:
        attacked = home.copy()
        one, other = attacked.first(key(first)), attacked.first(key(second))
        attacked.replace(key(first), other)
        attacked.replace(key(second), one)
        assert f"entry {first}: another one than here" in told(written, attacked)


def test_each_entry_that_was_changed_is_named(written: Machine, home: Bucket) -> None:
    for number in ENTRIES:
        attacked = home.copy()
        attacked.replace(key(number), attacked.first(key(number)).replace(b'"actor":"', b'"actor":"not '))
        assert f"entry {number}: another one than here" in told(written, attacked)


def test_an_entry_that_was_added_is_named(written: Machine, home: Bucket) -> None:
    home.put(key(30), home.first(key(5)))
    assert "entry 30: there and not here, and it does not follow entry 29" in told(written, home)


def test_an_object_of_another_run_is_seen(written: Machine, home: Bucket, tmp_path: Path) -> None:
    other = Machine(tmp_path, Bucket())
    other.whole_run(OTHER)
    for number in ENTRIES:
        attacked = home.copy()
        attacked.replace(key(number), other.home.bucket.first(entries_key(OTHER, number)))
        assert f"entry {number}: another one than here" in told(written, attacked)
    theirs = other.home.bucket.keys(f"runs/{OTHER}/checkpoints/")[0]
    home.put(theirs.replace(OTHER, RUN), other.home.bucket.first(theirs))
    assert "a checkpoint that is there and not here: " in told(written, home)


def test_what_is_no_part_of_a_run_is_named(written: Machine, home: Bucket) -> None:
    names = [f"runs/{RUN}/{name}" for name in ("x", "entries/x.jsonl", "entries/0000000003.json", "checkpoints/x")]
    for name in names:
        home.put(name, b"what\n")
    seen = told(written, home)
    assert all(f"{name}: it is no part of the run" in seen for name in names[:3])
    assert "a checkpoint that is there and not here" in seen


def test_another_plan_or_none_is_seen(written: Machine, home: Bucket) -> None:
    home.replace(f"runs/{RUN}/plan.json", PLAN.replace(b"drill", b"trill"))
    assert told(written, home) == "the plan is another one"
    home.remove(f"runs/{RUN}/plan.json")
    assert told(written, home) == "the plan is not there"


def test_a_checkpoint_that_is_not_there_is_missing(written: Machine, home: Bucket) -> None:
    home.remove(f"runs/{RUN}/checkpoints/")
    assert found(written, home).missing == ("the checkpoint of size 30: not there",)


def test_what_is_there_and_not_here_is_missing_here(home: Bucket, tmp_path: Path) -> None:
    machine = Machine(tmp_path, home)
    stored = machine.book().find(RUN)
    [mark] = stored.checkpoint_lines()
    (stored.directory / "checkpoints.jsonl").unlink()
    lines = (stored.directory / "journal.jsonl").read_bytes().split(b"\n")
    (stored.directory / "journal.jsonl").write_bytes(b"\n".join(lines[:28]) + b"\n")
    seen = compare(RUN, local_copy(stored), fetch(home.store(HOME), RUN))
    assert seen.missing[0] == "entries 28-29: there and not here"
    assert "the journal ends here" in seen.tampered[0], "its checkpoint knows more than there is here"
    (stored.directory / "journal.jsonl").write_bytes(b"\n".join(lines))
    seen = compare(RUN, local_copy(stored), fetch(home.store(HOME), RUN))
    assert seen == Comparison(where=HOME, missing=("the checkpoint of size 30: there and not here",))
    (stored.directory / "journal.jsonl").write_bytes(b"")
    assert compare(RUN, local_copy(stored), fetch(home.store(HOME), RUN)).missing == (
        "entries 0-29: there and not here",
    )
    assert mark in fetch(home.store(HOME), RUN).marks


# The ledger


def of_ledger(home: Bucket) -> tuple[str, ...]:
    """What is found wrong when the ledger is held against the runs that are there."""
    compared = Machine(Path("/nowhere"), home).book().compare_ledger()
    assert compared is not None
    return compared.tampered


def test_an_untouched_ledger_is_well(home: Bucket) -> None:
    assert of_ledger(home) == ()


def test_a_run_that_was_removed_is_missing(home: Bucket) -> None:
    home.remove(f"runs/{RUN}/")
    [seen] = of_ledger(home)
    assert seen.startswith(f"the run {RUN} is missing: the ledger knows that it was started at ")


def test_a_run_that_was_put_there_is_unknown(home: Bucket) -> None:
    for name in home.keys(f"runs/{RUN}/"):
        home.put(name.replace(RUN, OTHER), home.first(name))
    assert of_ledger(home) == (f"the run {OTHER} is unknown to the ledger",)


def test_a_run_that_never_began_is_no_alarm(home: Bucket) -> None:
    home.put(f"runs/{OTHER}/plan.json", PLAN)
    assert of_ledger(home) == ()


def test_a_run_that_was_rewritten_after_its_end_is_named(home: Bucket) -> None:
    home.replace(key(29), home.first(key(29)).replace(b"well", b"ok"))
    assert of_ledger(home) == (f"the run {RUN} is not the one that the ledger knows: entry 29 has another hash",)


def test_lines_of_the_ledger_that_were_touched_are_named(home: Bucket) -> None:
    lines = home.keys(ledger.LEDGER)
    assert len(lines) == 2
    for name, number in zip(lines, (0, 1), strict=True):
        attacked = home.copy()
        attacked.put(name, b"{}")
        assert of_ledger(attacked)[0].startswith(f"line {number} of the ledger: 1 later version")
        attacked = home.copy()
        attacked.mark_deleted(name)
        assert of_ledger(attacked)[0].startswith(f"line {number} of the ledger: 1 delete marker")
        attacked = home.copy()
        attacked.replace(name, home.first(name).replace(b"pid", b"dip"))
        assert bool(of_ledger(attacked)) == (number == 0), "the last line is behind no other"
    home.remove(lines[0])
    assert "line 0 of the ledger: it is not the first entry" in of_ledger(home)[0]
    home.replace(lines[1], b"{}")
    assert of_ledger(home)[0] == "line 0 of the ledger: it is not an entry"


def test_a_line_that_follows_and_cannot_be_read_is_named(home: Bucket) -> None:
    last = home.first(home.keys(ledger.LEDGER)[-1])
    head = chain.link(chain.Head(1, ""), last)
    home.put(f"{ledger.LEDGER}{2:010d}.json", b'{"prev":"%b","seq":2,"what":"?"}' % head.hash.encode())
    assert of_ledger(home)[0].startswith("line 2 of the ledger: it cannot be read")
