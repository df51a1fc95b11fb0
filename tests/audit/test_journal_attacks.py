"""Attacks on a journal on a real disk, and lines that a crash left unfinished."""

import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from dr.audit import verify_pack
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN
from dr.audit.replay import begun
from dr.audit.stored import LARGEST, StoredRun
from dr.core.events import RunStarted
from dr.core.plan import digest
from dr.errors import JournalBroken, JournalUnreadable, JournalUnwritable, PlanChanged
from dr.report.folder import copy
from tests.audit.signed import rechained
from tests.audit.written import ME, drafts, file_of, write


def test_every_flipped_byte_of_every_line_is_seen_and_its_entry_named(stored: StoredRun) -> None:
    whole = file_of(stored).read_bytes()
    with file_of(stored).open("r+b") as file:
        for at, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ 1]), at)
            with pytest.raises(JournalBroken) as broken:
                stored.verify()
            os.pwrite(file.fileno(), bytes([byte]), at)
            number = whole[:at].count(b"\n")
            assert f"entry {number}:" in broken.value.what or f"entry {number + 1}:" in broken.value.what
    stored.verify()


def test_every_entry_and_every_two_entries_that_are_taken_out_are_seen(stored: StoredRun) -> None:
    lines = file_of(stored).read_bytes().splitlines(keepends=True)
    for out in [*combinations(range(30), 1), *combinations(range(30), 2)]:
        file_of(stored).write_bytes(b"".join(line for number, line in enumerate(lines) if number not in out))
        with pytest.raises(JournalBroken):
            stored.verify()


def test_a_tail_that_was_cut_off_behind_a_checkpoint_is_seen_at_every_byte(stored: StoredRun) -> None:
    """And is not taken for what a crash leaves."""
    whole = file_of(stored).read_bytes()
    for length in reversed(range(len(whole))):
        os.truncate(file_of(stored), length)
        left = whole[:length].count(b"\n")
        with pytest.raises(JournalBroken, match=f"entry {left}: the journal ends here"):
            stored.verify()


def test_an_edited_entry_is_not_resumed_and_nothing_is_changed(stored: StoredRun) -> None:
    whole = file_of(stored).read_bytes()
    edited = whole.replace(b'"step-done","step":"d"', b'"step-done","step":"e"')
    file_of(stored).write_bytes(edited)
    before = {path.name: path.read_bytes() for path in stored.directory.iterdir()}

    with pytest.raises(JournalBroken, match="entry 13: it does not follow entry 12: that entry was changed"):
        stored.resume(ME)
    with pytest.raises(JournalBroken, match="entry 13: it does not follow entry 12: that entry was changed"):
        stored.judge(None)
    assert {path.name: path.read_bytes() for path in stored.directory.iterdir()} == before


def test_entries_of_another_run_are_seen(place: Path, stored: StoredRun) -> None:
    other = write(place, "other")
    file_of(stored).write_bytes(file_of(other).read_bytes())
    (stored.directory / CHECKPOINTS).unlink()
    with pytest.raises(JournalBroken, match="entry 0: it belongs to the run other"):
        list(stored.entries())


def test_a_checkpoint_of_another_run_is_seen(place: Path, stored: StoredRun) -> None:
    other = write(place, "other")
    (stored.directory / CHECKPOINTS).write_bytes((other.directory / CHECKPOINTS).read_bytes())
    with pytest.raises(JournalBroken, match="holds a checkpoint of the run other"):
        stored.verify()


@pytest.mark.parametrize("content", [b"{}\n", b"nonsense\n", b"\xff\xfe\n", b'{"run":"r","size":"many"}\n'])
def test_checkpoints_that_cannot_be_read_are_an_error_and_no_reason_to_trust(stored: StoredRun, content: bytes) -> None:
    (stored.directory / CHECKPOINTS).write_bytes(content)
    with pytest.raises(JournalBroken, match=r"checkpoints\.jsonl cannot be read"):
        stored.verify()


def test_an_unfinished_checkpoint_is_left_out(stored: StoredRun) -> None:
    """A crash in the middle of its write; the entries it speaks of are there all the same."""
    marks = (stored.directory / CHECKPOINTS).read_bytes()
    (stored.directory / CHECKPOINTS).write_bytes(marks + marks[:-20])
    assert len(stored.checkpoints()) == 1
    assert stored.verify()[0].size == 30


@pytest.mark.parametrize("length", [1, 40, 150])
def test_a_checkpoint_behind_an_unfinished_one_can_be_read(stored: StoredRun, length: int) -> None:
    """Else a disk that was full for a moment, or a kill, would end the run for good: it would not verify any more."""
    path = stored.directory / CHECKPOINTS
    mark = path.read_bytes()
    path.write_bytes(mark + mark[:length])
    journal, _ = stored.resume(ME)
    journal.checkpoint("later", "ada")
    journal.close()

    assert [(item.size, item.at) for item in stored.checkpoints()] == [
        (30, "2023-05-15T14:00:00.000000Z"),
        (30, "later"),
    ]
    stored.verify()


@pytest.mark.parametrize("line", [b"nonsense", b"\xff", b'{"prev":"","seq":30}', b'{"prev":1}'])
def test_a_line_that_is_no_entry_is_named(stored: StoredRun, line: bytes) -> None:
    with file_of(stored).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(JournalBroken, match=r"entry 30: it cannot be read"):
        list(stored.entries())
    with pytest.raises(JournalBroken, match=r"entry 30: "):
        stored.verify()


@pytest.mark.parametrize("name, call", [(PLAN, StoredRun.plan), (JOURNAL, StoredRun.verify)])
def test_a_file_that_is_missing_is_named(stored: StoredRun, name: str, call: object) -> None:
    (stored.directory / name).unlink()
    with pytest.raises(JournalBroken, match=f"{name} cannot be read: No such file"):
        call(stored)  # type: ignore[operator]


# An unfinished last line


def test_an_unfinished_last_line_is_recognised_kept_aside_and_gone_on_from_at_every_byte(stored: StoredRun) -> None:
    """Safety rule 8: what is there is read; a write that was cut is never dropped in silence and never a dead end."""
    (stored.directory / CHECKPOINTS).unlink()
    lines = file_of(stored).read_bytes().splitlines(keepends=True)
    whole, last = b"".join(lines[:28]), b"".join(lines[28:])
    for length in range(1, len(last)):
        file_of(stored).write_bytes(whole + last[:length])
        complete = 28 + last[:length].count(b"\n")
        unfinished = (whole + last[:length]).rpartition(b"\n")[2]

        head, torn = stored.verify()
        assert head.size == complete
        assert (torn.bytes if torn else 0) == len(unfinished)

        journal, torn = stored.resume(ME)
        journal.append(drafts()[complete:])
        journal.close()
        assert [entry.event for entry in stored.entries()] == [draft.event for draft in drafts()]
        kept = list(stored.directory.glob("torn-*"))
        assert [path.read_bytes() for path in kept] == ([unfinished] if unfinished else [])
        for path in kept:
            assert torn
            assert path.name == f"torn-{complete}-{torn.sha256[:16]}"
            path.unlink()


def test_zeros_in_an_entry_are_unfinished_only_in_the_last_write(stored: StoredRun) -> None:
    """So a power cut leaves it (`tests/power.py`); anywhere else it is damage, and named. Both verifiers agree."""
    (stored.directory / CHECKPOINTS).unlink()
    whole = file_of(stored).read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for at in [*range(0, len(whole), 7), *ends]:
        holed = whole[:at] + b"\0" + whole[at + 1 :]
        file_of(stored).write_bytes(holed)
        number = whole[:at].count(b"\n")
        if number < 28:  # the last two were written together
            assert verify_pack.finished(holed) == holed
            with pytest.raises(JournalBroken, match=rf"entry {number}:|entry {number + 1}:"):
                stored.verify()
        else:
            head, torn = stored.verify()
            assert head.size == number
            assert torn is not None
            assert torn.bytes == len(holed) - len(verify_pack.finished(holed))
            assert len(list(stored.raw())) == len(list(stored.entries())) == number


def test_zeros_behind_which_a_checkpoint_knows_entries_are_seen(stored: StoredRun) -> None:
    """Who signs knows what was synced."""
    whole = file_of(stored).read_bytes()
    file_of(stored).write_bytes(whole[:-20] + bytes(10) + whole[-10:])
    with pytest.raises(JournalBroken, match="entry 29: the journal ends here"):
        stored.verify()


def test_a_forged_line_behind_zeros_that_was_not_written_with_them_is_seen(stored: StoredRun) -> None:
    (stored.directory / CHECKPOINTS).unlink()
    *lines, last = file_of(stored).read_bytes().splitlines(keepends=True)
    for forged in (last.replace(b'"first":28', b'"first":29'), b"{}\n", b"nonsense\n"):
        holed = b"".join([*lines[:-1], lines[-1][:-9], bytes(8), b"\n", forged])
        file_of(stored).write_bytes(holed)
        assert verify_pack.finished(holed) == holed
        with pytest.raises(JournalBroken, match=r"entry 28: |entry 29: "):
            stored.verify()


def test_a_checkpoint_with_a_hole_is_left_out_only_at_the_end(stored: StoredRun) -> None:
    path = stored.directory / CHECKPOINTS
    mark = path.read_bytes()
    holed = mark[:50] + bytes(20) + mark[70:]
    path.write_bytes(mark + holed)
    assert len(stored.checkpoints()) == 1
    journal, _ = stored.resume(ME)
    journal.checkpoint("later", "ada")
    journal.close()
    assert [item.at for item in stored.checkpoints()] == ["2023-05-15T14:00:00.000000Z", "later"]

    path.write_bytes(holed + mark)
    with pytest.raises(JournalBroken, match=r"checkpoints\.jsonl cannot be read"):
        stored.verify()


def test_two_crashes_in_the_same_place_leave_two_unfinished_lines(stored: StoredRun) -> None:
    (stored.directory / CHECKPOINTS).unlink()
    whole = file_of(stored).read_bytes()
    first, second = b'{"prev":"first', b'{"prev":"second'
    for unfinished in (first, second, first):
        file_of(stored).write_bytes(whole + unfinished)
        stored.resume(ME)[0].close()
    assert {path.read_bytes() for path in stored.directory.glob("torn-*")} == {first, second}


def test_a_crash_while_an_unfinished_line_is_set_aside_changes_nothing(stored: StoredRun) -> None:
    (stored.directory / CHECKPOINTS).unlink()
    whole = file_of(stored).read_bytes()
    file_of(stored).write_bytes(whole + b"unfinished")
    _, torn = stored.verify()
    assert torn
    (stored.directory / f"torn-30-{torn.sha256[:16]}.part").write_bytes(b"unfi")

    stored.resume(ME)[0].close()
    (kept,) = stored.directory.glob("torn-*")
    assert kept.read_bytes() == b"unfinished"
    assert file_of(stored).read_bytes() == whole


def test_an_unfinished_line_that_cannot_be_kept_stays_where_it_is(stored: StoredRun) -> None:
    (stored.directory / CHECKPOINTS).unlink()
    content = file_of(stored).read_bytes() + b"unfinished"
    file_of(stored).write_bytes(content)
    _, torn = stored.verify()
    assert torn
    (stored.directory / f"torn-30-{torn.sha256[:16]}").mkdir()

    with pytest.raises(JournalUnwritable, match="Is a directory"):
        stored.resume(ME)
    assert file_of(stored).read_bytes() == content
    assert not stored.is_held()


@pytest.mark.parametrize(
    "name, call", [(PLAN, StoredRun.plan), (JOURNAL, StoredRun.verify), (CHECKPOINTS, StoredRun.verify)]
)
def test_what_the_system_does_not_let_us_read_is_not_called_tampered_with(
    stored: StoredRun, name: str, call: Callable[[StoredRun], object]
) -> None:
    """The first byte of that link's target nobody can read: EIO, as of a failing disk."""
    (stored.directory / name).unlink(missing_ok=True)
    (stored.directory / name).symlink_to("/proc/self/mem")
    with pytest.raises(JournalUnreadable, match=f"{name}: Input/output error"):
        call(stored)


# What would wear out or stop whoever verifies


@pytest.mark.parametrize("name", [JOURNAL, CHECKPOINTS, PLAN])
@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_in_the_place_of_one_is_not_waited_for(
    name: str, put: Callable[[Path], object], stored: StoredRun, tmp_path: Path
) -> None:
    (stored.directory / name).unlink()
    put(stored.directory / name)
    with pytest.raises(JournalBroken, match=f"{name} cannot be read: it is no ordinary file"):
        _ = (stored.judge(None), begun(stored))
    with pytest.raises(JournalBroken, match=f"{name} cannot be read: it is no ordinary file"):
        copy(stored, tmp_path / "copy")


def test_checkpoints_without_end_are_not_read_to_it(stored: StoredRun) -> None:
    os.truncate(stored.directory / CHECKPOINTS, LARGEST + 1)
    with pytest.raises(JournalBroken, match=f"{CHECKPOINTS} is larger than 268,435,456 bytes"):
        stored.judge(None)


DEEP = b'"deep":' + b"[" * 100_000 + b"]" * 100_000


def test_an_entry_nested_without_end_cannot_be_read(stored: StoredRun) -> None:
    lines = list(stored.raw())
    lines[0] = lines[0][:-1] + b"," + DEEP + b"}"
    file_of(stored).write_bytes(b"".join(line + b"\n" for line in rechained(lines)))
    (stored.directory / CHECKPOINTS).unlink()
    for read in (lambda: stored.judge(None), lambda: begun(stored)):
        with pytest.raises(JournalBroken, match=r"entry 0: it cannot be read \(it is nested too deeply\)"):
            read()


def test_a_plan_nested_without_end_is_of_another_format(stored: StoredRun) -> None:
    """One that the first entry names: whoever writes the whole run may write that, too."""
    plan = stored.plan()[:-1] + b"," + DEEP + b"}"
    (stored.directory / PLAN).write_bytes(plan)
    old = begun_with(stored)
    lines = [line.replace(old, digest(plan).encode()) for line in stored.raw()]
    file_of(stored).write_bytes(b"".join(line + b"\n" for line in rechained(lines)))
    with pytest.raises(PlanChanged, match="is of another format: it is nested too deeply"):
        begun(stored)


def begun_with(stored: StoredRun) -> bytes:
    """The digest that the first entry names."""
    first = next(stored.entries())
    assert isinstance(first.event, RunStarted)
    return first.event.plan.encode()
