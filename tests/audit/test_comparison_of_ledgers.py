"""The ledger of a home held against the runs that are there: each attack is seen, and the line or the run is named.

In memory and in S3.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dr.audit import chain, ledger
from dr.audit.copies import entries_key
from dr.core.plan import Plan
from tests.audit.attacked import Attacked
from tests.audit.homes import DRILL, OTHER, PLAN, Machine, write
from tests.audit.written import ME, drafts
from tests.memory_store import Bucket
from tests.s3_world import S3Bucket
from tests.simulated.plans import plan, step

RUNS = [f"20230515T14000{number}Z-simulated-00000{number}" for number in range(4)]
LINES = range(8)
"""Each run was started and has ended before the next one."""
SHORT = plan(step("a"))
LAST = 5
"""Number of the last entry of each."""


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that has made four short runs."""
    machine = Machine(tmp_path_factory.mktemp("four"), Bucket())
    for run in RUNS:
        whole(machine, run, SHORT)
    return machine


def whole(machine: Machine, run: str, short: Plan) -> None:
    book = machine.book()
    journal = book.create(run, PLAN, DRILL, ME)
    write(journal, drafts(short))
    book.leave(journal, ended=True)
    assert len(machine.home.bucket.lines(run)) == LAST + 1


@pytest.fixture
def home(four: Machine, attackable: Bucket | S3Bucket) -> Attacked:
    return Attacked(attackable, four, RUNS[0])


def key(number: int) -> str:
    return f"{ledger.LEDGER}{number:010d}.json"


def told(home: Attacked) -> str:
    """What is said of the ledger, which must be called tampering."""
    seen = home.of_ledger()
    assert seen.tampered, seen
    return "\n".join(seen.tampered)


def test_an_untouched_ledger_is_well(home: Attacked) -> None:
    seen = home.of_ledger()
    assert (seen.tampered, seen.missing) == ((), ())


# Its lines


def test_each_line_that_was_removed_is_named(home: Attacked) -> None:
    for number in LINES[:-1]:
        with home.attack():
            home.remove(key(number))
            assert told(home).startswith(f"line {number} of the ledger: it ")


def test_a_ledger_that_was_cut_at_any_length_is_seen(home: Attacked) -> None:
    """What a run says of its own end is held against it. A cut that leaves only that open is what a crash leaves."""
    for length in reversed(LINES):
        home.remove(key(length))
        seen = home.of_ledger()
        unknown = RUNS[(length + 1) // 2 :]
        assert seen.tampered == tuple(f"the run {run} is unknown to the ledger" for run in unknown)
        cut = RUNS[length // 2]
        assert seen.missing == ((f"the end of the run {cut} is not in the ledger",) if length % 2 else ())


@pytest.mark.parametrize("field", ["run", "what", "head", "who"])
def test_each_line_that_was_changed_is_named(field: str, home: Attacked) -> None:
    """The last line is behind no other: of it only what the runs themselves say can be held against it."""
    for number in LINES:
        line = home.written[key(number)]
        value = str(msgspec.json.decode(line)[field]).encode()
        with home.attack():
            home.replace(
                {key(number): line.replace(b'"%b":"%b"' % (field.encode(), value), b'"%b":"other"' % field.encode())}
            )
            if number < LINES[-1]:
                assert f"line {number if field == 'what' else number + 1} of the ledger: it " in told(home)
            else:
                seen = home.of_ledger()
                assert (bool(seen.tampered), bool(seen.missing)) == {
                    "run": (False, True), "what": (True, True), "head": (True, False), "who": (False, False),
                }[field]  # fmt: skip


@pytest.mark.parametrize("number", [3, 7])
def test_each_flipped_byte_of_a_line_is_seen(number: int, home: Attacked) -> None:
    line = home.written[key(number)]
    flips = {
        f"flipped/{at:03}": line[:at] + bytes([byte ^ 1]) + line[at + 1 :] for at, byte in enumerate(line)
    }  # fmt: skip
    home.put_all(flips)
    unseen = []
    for item in home.store.list("flipped/"):
        seen = home.of_ledger(home.instead({key(number): item}))
        if number < LINES[-1]:
            assert seen.tampered[0].startswith((f"line {number} of ", f"line {number + 1} of "))
        if not seen.tampered and not seen.missing:
            unseen.append(int(item.key[-3:]))
    free = [] if number < LINES[-1] else [at for name in (b"at", b"who") for at in place_of(name, line)]
    assert unseen == free


def place_of(field: bytes, line: bytes) -> range:
    """Where the value of a field stands in a line."""
    first = line.index(b'"%b":"' % field) + len(field) + 4
    return range(first, line.index(b'"', first))


def test_each_two_lines_that_were_swapped_are_seen(home: Attacked) -> None:
    for first, second in itertools.combinations(LINES, 2):
        with home.attack():
            home.replace({key(first): home.written[key(second)], key(second): home.written[key(first)]})
            assert told(home).startswith(f"line {first} of the ledger: it ")


def test_each_line_that_was_duplicated_is_named(home: Attacked) -> None:
    lines = [home.written[key(number)] for number in LINES]
    for number in LINES:
        doubled = [*lines[: number + 1], *lines[number:]]
        with home.attack():
            home.replace({key(at): line for at, line in enumerate(doubled) if lines[at : at + 1] != [line]})
            assert told(home).startswith(f"line {number + 1} of the ledger: it ")


def test_each_line_of_another_ledger_is_seen(home: Attacked, tmp_path: Path) -> None:
    other = Machine(tmp_path, Bucket())
    for number in range(4):
        whole(other, f"{OTHER}{number}", SHORT)
    for number in LINES:
        with home.attack():
            home.replace({key(number): other.home.bucket.first(key(number))})
            assert (
                f"the run {OTHER}{number // 2} is missing" in told(home)
                if number == 0
                else f"line {number} of" in told(home)
            )


@pytest.mark.parametrize(
    "attack, what",
    [
        (lambda home, name: home.put(name, b"{}"), "1 later version put on top"),
        (Attacked.mark_deleted, "1 delete marker put on top"),
    ],
    ids=["a later version", "a delete marker"],
)
def test_what_is_put_on_top_of_each_line_is_named(
    attack: Callable[[Attacked, str], None], what: str, home: Attacked
) -> None:
    for number in LINES:
        with home.attack():
            attack(home, key(number))
            assert told(home).startswith(f"line {number} of the ledger: {what} of the first version")


def test_a_line_that_follows_and_cannot_be_read_is_named(home: Attacked) -> None:
    last = home.written[key(LINES[-1])]
    head = chain.link(chain.Head(LINES[-1], ""), last)
    home.put(key(8), b'{"prev":"%b","seq":8,"what":"?"}' % head.hash.encode())
    assert told(home).startswith("line 8 of the ledger: it cannot be read")


# Its runs


def test_each_run_that_was_removed_is_missing(home: Attacked) -> None:
    for run in RUNS:
        with home.attack():
            home.remove(*home.keys(f"runs/{run}/"))
            assert told(home).startswith(f"the run {run} is missing: the ledger knows that it was started at ")


def test_each_run_whose_last_entry_was_replaced_or_removed_is_named(home: Attacked) -> None:
    """The ledger knows of each run the hash of its last entry, and that one knows of all before it."""
    for run in RUNS:
        last = entries_key(run, LAST)
        with home.attack():
            home.replace({last: home.written[last].replace(b'"actor":"', b'"actor":"not ')})
            other = f"the run {run} is not the one that the ledger knows: entry {LAST} has another hash"
            assert told(home) == other
            home.remove(last)
            assert told(home) == f"the run {run} ends after entry {LAST - 1}: the ledger knows {LAST + 1} entries"


def test_a_run_whose_last_entry_cannot_be_read_is_not_taken_for_one_that_has_ended(home: Attacked) -> None:
    """What is wrong with the entry is told when the run itself is verified."""
    home.remove(key(LINES[-1]))
    home.replace({entries_key(RUNS[-1], LAST): b"no entry\n"})
    seen = home.of_ledger()
    assert (seen.tampered, seen.missing) == ((), ())


def test_a_run_that_was_put_there_is_unknown(home: Attacked) -> None:
    for name in home.keys(f"runs/{RUNS[0]}/"):
        home.put(name.replace(RUNS[0], OTHER), home.written[name])
    assert told(home) == f"the run {OTHER} is unknown to the ledger"


def test_a_run_that_never_began_is_no_alarm(home: Attacked) -> None:
    home.put(f"runs/{OTHER}/plan.json", PLAN)
    assert home.of_ledger().tampered == ()
