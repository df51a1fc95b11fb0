"""A local journal that takes over what was written elsewhere, or gives up what was ruled wrong."""

from pathlib import Path

import pytest

from dr.audit.chain import Broken
from dr.audit.stored import StoredRun
from dr.errors import JournalUnwritable
from tests.audit.written import ME, drafts, file_of


def cut_short(stored: StoredRun, size: int) -> list[bytes]:
    """Leave only the first lines; the rest."""
    lines = file_of(stored).read_bytes().split(b"\n")[:-1]
    file_of(stored).write_bytes(b"".join(line + b"\n" for line in lines[:size]))
    (stored.directory / "checkpoints.jsonl").rename(stored.directory / "kept")
    return lines[size:]


def test_lines_that_were_written_elsewhere_are_appended_with_their_checkpoints(stored: StoredRun) -> None:
    whole = file_of(stored).read_bytes()
    rest = cut_short(stored, 12)
    journal, _ = stored.resume(ME)
    journal.adopt(rest, (stored.directory / "kept").read_bytes().split(b"\n")[:-1])
    journal.adopt([], [])
    journal.close()
    assert file_of(stored).read_bytes() == whole
    assert stored.verify()[0].size == 30
    assert len(stored.checkpoints()) == 1


def test_lines_that_do_not_follow_are_not_appended(stored: StoredRun) -> None:
    rest = cut_short(stored, 12)
    journal, _ = stored.resume(ME)
    with pytest.raises(Broken):
        journal.adopt(rest[1:], [])
    journal.append(drafts()[12:13])
    assert stored.verify()[0].size == 13


def test_what_is_cut_off_is_kept_and_the_journal_goes_on_before_it(stored: StoredRun) -> None:
    lines = file_of(stored).read_bytes().split(b"\n")[:-1]
    for _ in range(2):  # the same again writes the same files
        journal, _ = stored.resume(ME)
        journal.cut(12)
        assert journal.head.size == 12
        journal.adopt(lines[12:], [])
        journal.close()
    journal, _ = stored.resume(ME)
    journal.cut(12)
    journal.append(drafts()[12:13])
    assert stored.verify()[0].size == 13
    assert stored.checkpoints() == ()
    [aside] = [path for path in stored.directory.glob("aside-12-*") if path.suffix != ".checkpoints"]
    assert aside.read_bytes().split(b"\n")[:-1] == lines[12:]


def test_a_journal_without_checkpoints_is_cut_too(stored: StoredRun) -> None:
    cut_short(stored, 12)
    journal, _ = stored.resume(ME)
    journal.cut(5)
    assert stored.verify()[0].size == 5


def test_what_cannot_be_kept_is_not_cut_off(stored: StoredRun) -> None:
    journal, _ = stored.resume(ME)
    head = journal.head.hash[:16]
    (stored.directory / f"aside-12-{head}.part").mkdir()
    with pytest.raises(JournalUnwritable):
        journal.cut(12)
    assert stored.verify()[0].size == 30


def test_a_closed_journal_takes_nothing(stored: StoredRun) -> None:
    journal, _ = stored.resume(ME)
    journal.close()
    with pytest.raises(JournalUnwritable):
        journal.adopt([], [])
    with pytest.raises(JournalUnwritable):
        journal.cut(3)


def test_a_stored_run_knows_whether_it_is_there(stored: StoredRun, tmp_path: Path) -> None:
    assert stored.exists()
    assert not StoredRun(tmp_path).exists()
