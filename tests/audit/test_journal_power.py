"""A power cut while copies of a journal are brought together: nothing is lost that another copy does not have.

Whole runs are in `tests/test_runs_power.py`.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.audit.book import LocalBook
from dr.audit.copies import Copy, local_copy
from dr.audit.journal import CHECKPOINTS
from dr.audit.stored import StoredRun
from tests.audit.written import ME, RUN, file_of, write
from tests.cli.shell import environment
from tests.power import Cut, cuts, memory
from tests.traced import Record, record, strace

pytestmark = [strace, pytest.mark.untraced]

HERE = """
import sys
from pathlib import Path
from dr.audit import chain
from dr.audit.copies import local_copy, write_copy
from dr.audit.stored import StoredRun

whole = local_copy(StoredRun(Path(sys.argv[1])))
place = Path(sys.argv[2])
"""
ADOPT = "StoredRun(place).resume('here')[0].adopt(whole.lines[5:], whole.marks)"
CUT = "StoredRun(place).resume('here')[0].cut(10)"
FETCH = "write_copy(place, whole)"


@pytest.fixture
def whole(tmp_path: Path) -> Copy:
    """The run of thirty entries, as another machine has it."""
    return local_copy(write(tmp_path / "elsewhere"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def done(what: str, elsewhere: Path, folder: Path) -> Record:
    """What a process asks for that does this with the run in `folder`."""
    argv = [sys.executable, "-c", f"{HERE}{what}", str(elsewhere / "runs" / RUN), str(folder / "runs" / RUN)]
    asked = record(folder, argv, env=environment(folder))
    assert asked.status == 0
    return asked


def each(asked: Record, folder: Path) -> Iterator[tuple[Cut, StoredRun]]:
    for cut in cuts(asked.before, asked.asked):
        cut.state.put(folder)
        yield cut, StoredRun(folder / "runs" / RUN)


def test_what_is_adopted_from_elsewhere_may_be_adopted_again_after_any_power_cut(
    whole: Copy, tmp_path: Path, folder: Path
) -> None:
    here = write(folder)
    file_of(here).write_bytes(b"".join(line + b"\n" for line in whole.lines[:5]))
    (here.directory / CHECKPOINTS).unlink()
    sizes = set()
    for _, stored in each(done(ADOPT, tmp_path / "elsewhere", folder), folder):
        head, torn = stored.verify()
        sizes.add((head.size, torn is not None))
        with contextlib.closing(stored.resume(ME)[0]) as journal:
            journal.adopt(
                whole.lines[head.size :], [mark for mark in whole.marks if mark not in stored.checkpoint_lines()]
            )
        assert local_copy(stored) == whole
    assert len(sizes) > 20


def test_what_is_cut_off_because_another_copy_was_trusted_is_kept_through_any_power_cut(
    whole: Copy, tmp_path: Path, folder: Path
) -> None:
    write(folder)
    for _, stored in each(done(CUT, tmp_path / "elsewhere", folder), folder):
        head, torn = stored.verify()
        assert head.size in {10, 30}
        assert torn is None
        aside = [path.read_bytes() for path in stored.directory.glob("aside-*")]
        assert head.size == 30 or b"".join(line + b"\n" for line in whole.lines[10:]) in aside


def test_a_run_that_is_fetched_is_here_whole_or_not_at_all(whole: Copy, tmp_path: Path, folder: Path) -> None:
    found = set()
    asked = done(FETCH, tmp_path / "elsewhere", folder)
    for cut, stored in each(asked, folder):
        runs = LocalBook(folder).runs()
        found.add(len(runs))
        if runs:
            assert local_copy(stored) == whole
            assert stored.verify()[0].size == 30
        assert runs or cut.after < len(asked.asked)
    assert found == {0, 1}
