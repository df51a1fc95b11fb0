"""A run as it is read from a store: first versions, and no more of them than is needed."""

import pytest

from dr.audit.copies import Copy, fetch, whole_key
from tests.audit.homes import HOME, Machine, lines
from tests.audit.written import RUN
from tests.memory_store import ALWAYS, Bucket, Fault

WHOLE = whole_key(RUN)


def entries(bucket: Bucket) -> list[str]:
    return bucket.keys(f"runs/{RUN}/entries/")


def fetched(bucket: Bucket, known: list[bytes]) -> tuple[Copy, list[str]]:
    """The run, and the keys that were read for it."""
    bucket.calls.clear()
    copy = fetch(bucket.store(HOME), RUN, known)
    return copy, sorted(key for call, key in bucket.calls if call == "read")


def test_a_run_that_has_ended_is_read_in_one_object_and_every_other_is_known_to_be_equal(
    here: Machine, home: Bucket
) -> None:
    run = here.whole_run()
    copy, read = fetched(home, [])
    assert copy.lines == tuple(lines(run))
    assert [key for key in read if key not in entries(home)] == read
    assert WHOLE in read
    assert copy.strangers == ()


def test_lines_that_are_here_already_are_not_read_again(here: Machine, home: Bucket) -> None:
    ours = lines(here.whole_run())
    copy, read = fetched(home, ours)
    assert copy.lines == tuple(ours)
    assert not {WHOLE, *entries(home)}.intersection(read)


def test_while_a_run_goes_on_what_is_new_is_read(here: Machine, home: Bucket) -> None:
    _, journal = here.begin(9)
    ours = lines(here.stored())
    copy, read = fetched(home, ours[:5])
    assert copy.lines == tuple(ours)
    assert entries(home)[5:] == [key for key in read if key in entries(home)]
    here.die(journal)


def test_where_the_store_computes_no_md5_everything_is_read() -> None:
    """An MD5 that is none says nothing, and nothing is taken for equal."""
    bucket = Bucket(encrypted=True)
    keys = [f"runs/{RUN}/entries/{number:010d}.jsonl" for number in range(3)]
    for number, key in enumerate(keys):
        bucket.put(key, b"%d\n" % number)
    copy, read = fetched(bucket, [b"0", b"1", b"2"])
    assert copy.lines == (b"0", b"1", b"2")
    assert read == keys


@pytest.mark.parametrize("known", [True, False], ids=["lines are here", "nothing is here"])
def test_every_entry_that_is_another_one_at_home_is_read_and_not_taken_for_what_it_was(
    here: Machine, home: Bucket, known: bool
) -> None:
    ours = lines(here.whole_run())
    for number, key in enumerate(entries(home)):
        forged = home.copy()
        forged.replace(key, home.first(key).replace(b'"actor":"ada"', b'"actor":"eve"'))
        copy, _ = fetched(forged, ours if known else [])
        assert [ours == theirs for ours, theirs in zip(ours, copy.lines, strict=True)].index(False) == number


def test_an_object_of_all_lines_that_says_something_else_is_not_believed_and_named(here: Machine, home: Bucket) -> None:
    ours = lines(here.whole_run())
    for forged in (home.first(WHOLE).replace(b'"step":"c"', b'"step":"x"'), b"", b"nothing of the kind"):
        home.replace(WHOLE, forged)
        copy, _ = fetched(home, [])
        assert copy.lines == tuple(ours)
        assert copy.strangers == ((WHOLE,) if forged else ())


def test_an_entry_that_is_gone_is_missed_although_another_object_has_its_line(here: Machine, home: Bucket) -> None:
    here.whole_run()
    home.remove(entries(home)[7])
    copy, _ = fetched(home, [])
    assert (len(copy.lines), copy.behind_gap) == (7, 8)


def test_a_run_ends_well_where_there_was_no_time_for_the_object_of_all_lines(here: Machine, home: Bucket) -> None:
    home.on("create", Fault.UNREACHABLE, key=WHOLE, nth=ALWAYS)
    run = here.whole_run()
    assert WHOLE not in home.versions
    assert here.warnings == []
    copy, _ = fetched(home, [])
    assert copy.lines == tuple(lines(run))
    home.calm()
    here.book().sync(run)
    assert home.first(WHOLE) == b"".join(line + b"\n" for line in lines(run))
