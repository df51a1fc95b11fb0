"""One writer: a second one is refused, and what somebody else does to the file is noticed."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.audit.book import LocalBook
from dr.audit.journal import LocalJournal
from dr.audit.stored import StoredRun
from dr.errors import JournalHeld, JournalUnwritable
from tests.audit.written import ME, RUN, create, drafts, file_of

HOLD = """
import sys
from pathlib import Path
from dr.audit.book import LocalBook
from tests.audit.written import drafts

journal, _ = LocalBook(Path(sys.argv[1])).find(sys.argv[2]).resume("pid 4711 on there")
print("held", flush=True)
for draft in drafts():
    sys.stdin.readline()
    entry, = journal.append([draft])
    print(entry.seq, flush=True)
"""


class Holder:
    """Another, real process that holds the journal and appends an entry when it is told to."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-c", HOLD, str(directory), RUN]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "held"

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def append(self) -> int:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._read())

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def holder(place: Path) -> Iterator[Holder]:
    create(place).close()
    holder = Holder(place)
    yield holder
    holder.kill()


def test_a_second_writer_is_refused_while_the_first_one_lives_and_not_after(place: Path, holder: Holder) -> None:
    """Safety rule 7. The lock ends with the process, however it ends, and never by a timer."""
    run = LocalBook(place).find(RUN)
    assert run.is_held()
    with pytest.raises(JournalHeld, match="is held by pid 4711 on there"):
        run.resume(ME)
    assert holder.append() == 0

    holder.kill()
    assert not run.is_held()
    journal, torn = run.resume(ME)
    journal.append(drafts()[1:])
    journal.close()
    assert torn is None
    assert run.verify()[0].size == 30
    assert run.holder() == ME


def test_a_holder_whose_name_a_power_cut_has_taken_is_unknown(stored: StoredRun) -> None:
    for left in (bytes(16), b""):
        (stored.directory / "holder").write_bytes(left)
        assert stored.holder() == "an unknown process"


def test_everything_that_was_said_to_be_durable_is_there_after_a_kill(place: Path, holder: Holder) -> None:
    said = [holder.append() for _ in range(10)]
    holder.kill()
    assert said == [entry.seq for entry in LocalBook(place).find(RUN).entries()]


def test_who_asks_whether_a_run_is_held_does_not_keep_a_writer_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who asks has the lock for a moment, and gives it back while the writer waits to try again."""
    create(place).close()
    run = LocalBook(place).find(RUN)
    asking = file_of(run).open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr("dr.audit.stored.time.sleep", lambda _: asking.close())

    run.resume(ME)[0].close()
    assert asking.closed


@pytest.mark.parametrize("content", [None, "", "\udcff"])
def test_a_holder_that_left_no_name_is_an_unknown_process(stored: StoredRun, content: str | None) -> None:
    path = stored.directory / "holder"
    path.unlink()
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    with file_of(stored).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(JournalHeld, match="is held by an unknown process"):
            stored.resume(ME)


def test_a_holder_that_cannot_be_written_down_holds_all_the_same(stored: StoredRun) -> None:
    """It is only for messages."""
    (stored.directory / "holder").unlink()
    (stored.directory / "holder").mkdir()
    journal, _ = stored.resume(ME)
    assert stored.is_held()
    journal.close()


def test_a_run_without_a_journal_is_held_by_nobody(place: Path) -> None:
    assert not StoredRun(place).is_held()


@pytest.mark.parametrize("foreign", [b"x", b'{"prev":""}\n'])
def test_a_writer_notices_that_somebody_else_wrote_and_stops(
    journal: LocalJournal, place: Path, foreign: bytes
) -> None:
    """Safety rules 7 and 8."""
    journal.append(drafts()[:2])
    path = file_of(LocalBook(place).find(RUN))
    with path.open("ab") as file:
        file.write(foreign)
    before = path.read_bytes()

    with pytest.raises(JournalHeld, match="another process has written"):
        journal.append(drafts()[2:3])
    with pytest.raises(JournalUnwritable, match="takes no more entries"):
        journal.append(drafts()[2:3])
    assert path.read_bytes() == before


def test_a_writer_notices_that_its_journal_was_cut_and_stops(journal: LocalJournal, place: Path) -> None:
    journal.append(drafts()[:2])
    os.truncate(file_of(LocalBook(place).find(RUN)), 10)
    with pytest.raises(JournalHeld):
        journal.append(drafts()[2:3])


def test_a_writer_notices_that_its_journal_was_removed_and_stops(journal: LocalJournal, place: Path) -> None:
    """Otherwise a run would go on and nobody could ever read what it did."""
    journal.append(drafts()[:2])
    file_of(LocalBook(place).find(RUN)).unlink()
    with pytest.raises(JournalUnwritable, match="it was removed while the run was going on"):
        journal.append(drafts()[2:3])
    with pytest.raises(JournalUnwritable, match="takes no more entries"):
        journal.append(drafts()[2:3])
