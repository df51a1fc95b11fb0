"""Copies in a store held against the local one: each attack is seen, and the entry is named. In memory and in S3."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dr.audit.comparison import Comparison, compare
from dr.audit.copies import entries_key, fetch, local_copy
from dr.audit.store import Stored
from tests.audit.attacked import Attacked
from tests.audit.homes import HOME, OTHER, PLAN, Machine
from tests.audit.written import RUN
from tests.memory_store import Bucket

ENTRIES = range(30)
PAIRS = list(itertools.combinations(ENTRIES, 2))
READERS = 4


def key(number: int) -> str:
    return entries_key(RUN, number)


def test_an_untouched_home_is_the_same(attacked: Attacked) -> None:
    assert attacked.found() == Comparison(where=attacked.store.name)


@pytest.mark.parametrize(
    "attack, what",
    [
        (lambda home, name: home.put(name, b"forged\n"), "1 later version put on top of the first version"),
        (Attacked.mark_deleted, "1 delete marker put on top of the first version"),
    ],
    ids=["a later version", "a delete marker"],
)
def test_what_is_put_on_top_of_any_object_is_named(
    attack: Callable[[Attacked, str], None], what: str, attacked: Attacked
) -> None:
    for name in attacked.keys(f"runs/{RUN}/"):
        with attacked.attack():
            attack(attacked, name)
            assert attacked.told().startswith(f"{named(name)}: {what}")


def named(name: str) -> str:
    """What an object is called."""
    if "/entries/" in name:
        return f"entry {int(name[-16:-6])}"
    if "/checkpoints/" in name:
        return "the checkpoint of size 30"
    return "the plan" if name.endswith("plan.json") else name


def test_each_entry_and_each_pair_of_entries_that_was_removed_is_named(attacked: Attacked) -> None:
    for first in ENTRIES:
        with attacked.attack():
            attacked.remove(key(first))
            assert attacked.told().startswith(f"entry {first}: {'missing' if first < 29 else 'cut off'}")
            for second in range(first + 1, 30):
                with attacked.attack():
                    attacked.remove(key(second))
                    span = f"entries {first}-{second}: " if second == first + 1 else f"entry {first}: missing"
                    assert attacked.told().startswith(span)


def test_each_entry_of_which_only_a_delete_marker_is_left_is_named(attacked: Attacked) -> None:
    for number in ENTRIES:
        with attacked.attack():
            attacked.remove(key(number))
            attacked.mark_deleted(key(number))
            assert f"entry {number}: it was removed; only a delete marker is left" in attacked.told()


def test_a_tail_that_was_cut_at_any_length_is_seen(attacked: Attacked) -> None:
    for length in reversed(ENTRIES):
        attacked.remove(key(length))
        cut = "entry 29" if length == 29 else f"entries {length}-29"
        assert f"{cut}: cut off; a checkpoint there knows 30 entries" in attacked.told()


def test_a_tail_that_was_cut_with_its_checkpoint_is_incomplete_and_the_ledger_knows(attacked: Attacked) -> None:
    attacked.remove(f"runs/{RUN}/checkpoints/", *(key(number) for number in range(20, 30)))
    seen = attacked.found()
    assert seen.tampered == ()
    assert seen.missing == ("entries 20-29: not there",)
    assert attacked.of_ledger().tampered == (f"the run {RUN} ends after entry 19: the ledger knows 30 entries",)


def test_each_two_entries_that_were_swapped_are_seen(attacked: Attacked) -> None:
    for first, second in PAIRS:
        assert f"entry {first}: another one than here" in attacked.told(attacked.swapped(key(first), key(second)))


def test_each_entry_that_was_changed_is_named(attacked: Attacked) -> None:
    for number in ENTRIES:
        with attacked.attack():
            attacked.replace({key(number): attacked.written[key(number)].replace(b'"actor":"', b'"actor":"not ')})
            assert f"entry {number}: another one than here" in attacked.told()


def test_each_flipped_byte_of_each_entry_is_named(attacked: Attacked) -> None:
    """7,932 forged objects. They lie elsewhere in the bucket, where an insider wrote them before anybody else, and each
    stands for its entry in turn: what is listed and read of it is what the store has."""
    flips = {
        f"flipped/{number:02}/{at:03}": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for number in ENTRIES
        for data in [attacked.written[key(number)]]
        for at in range(len(data))
    }
    attacked.put_all(flips)
    forged = list(attacked.store.list("flipped/"))
    assert [item.key for item in forged] == list(flips)
    with ThreadPoolExecutor(READERS) as pool:
        told = list(pool.map(attacked.told, [attacked.instead({key(number_of(item)): item}) for item in forged]))
    for item, said in zip(forged, told, strict=True):
        number = number_of(item)
        cut = "cut off" if number == 29 else f"missing, although entry {number + 1} is there"
        changed = "another one than here" if flips[item.key].endswith(b"\n") else cut
        assert f"entry {number}: {changed}" in said, item.key


def number_of(flipped: Stored) -> int:
    return int(flipped.key.split("/")[1])


@pytest.mark.parametrize("number", [0, 14, 28])
def test_an_entry_that_is_there_twice_is_named(number: int, attacked: Attacked) -> None:
    """Those behind it have made room."""
    later = {key(at + 1): attacked.written[key(at)] for at in range(number, 30)}
    attacked.replace(later)
    assert f"entry {number + 1}: another one than here" in attacked.told()


@pytest.mark.parametrize("number", [0, 5, 29])
def test_an_entry_that_was_added_is_named(number: int, attacked: Attacked) -> None:
    attacked.put(key(30), attacked.written[key(number)])
    assert "entry 30: there and not here, and it does not follow entry 29" in attacked.told()


def test_an_object_of_another_run_is_seen(attacked: Attacked, tmp_path: Path) -> None:
    other = Machine(tmp_path, Bucket())
    other.whole_run(OTHER)
    for number in ENTRIES:
        with attacked.attack():
            attacked.replace({key(number): other.home.bucket.first(entries_key(OTHER, number))})
            assert f"entry {number}: another one than here" in attacked.told()
    theirs = other.home.bucket.keys(f"runs/{OTHER}/checkpoints/")[0]
    attacked.put(theirs.replace(OTHER, RUN), other.home.bucket.first(theirs))
    assert "a checkpoint that is there and not here: " in attacked.told()


def test_what_is_no_part_of_a_run_is_named(attacked: Attacked) -> None:
    names = [f"runs/{RUN}/{name}" for name in ("x", "entries/x.jsonl", "entries/0000000003.json", "checkpoints/x")]
    for name in names:
        attacked.put(name, b"what\n")
    seen = attacked.told()
    assert all(f"{name}: it is no part of the run" in seen for name in names[:3])
    assert "a checkpoint that is there and not here" in seen


def test_another_plan_or_none_is_seen(attacked: Attacked) -> None:
    attacked.replace({f"runs/{RUN}/plan.json": PLAN.replace(b"drill", b"trill")})
    assert attacked.told() == "the plan is another one"
    attacked.remove(f"runs/{RUN}/plan.json")
    assert attacked.told() == "the plan is not there"


def test_a_checkpoint_that_is_not_there_is_missing(attacked: Attacked) -> None:
    attacked.remove(f"runs/{RUN}/checkpoints/")
    assert attacked.found().missing == ("the checkpoint of size 30: not there",)


def test_what_is_there_and_not_here_is_missing_here(thirty: Machine, tmp_path: Path) -> None:
    home = thirty.home.bucket
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
