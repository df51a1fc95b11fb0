"""The journal on a real disk: what it promises, and attacks on it."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN, Draft, LocalBook, LocalJournal, StoredRun
from dr.core import events as e
from dr.core.plan import encode_plan
from dr.errors import JournalBroken, JournalHeld, JournalUnwritable, NoSuchRun
from tests.audit.written import ME, NINE, RUN, create, drafts, write

HERE = Path(__file__).parent


@pytest.fixture
def stored(place: Path) -> StoredRun:
    return write(place)


@pytest.fixture
def journal(place: Path) -> Iterator[LocalJournal]:
    """A journal that is being written."""
    journal = create(place)
    yield journal
    journal.close()


def file_of(run: StoredRun) -> Path:
    return run.directory / JOURNAL


# What it promises


def test_what_was_appended_is_read_back_in_order(stored: StoredRun) -> None:
    assert [entry.event for entry in stored.entries()] == [draft.event for draft in drafts()]
    assert [entry.seq for entry in stored.entries()] == list(range(30))
    assert b"\n".join(stored.raw()) + b"\n" == file_of(stored).read_bytes()
    assert stored.plan() == encode_plan(NINE)


def test_the_entries_that_append_returns_are_those_on_the_disk(place: Path, journal: LocalJournal) -> None:
    written = journal.append(drafts()[:3])
    assert tuple(LocalBook(place).find(RUN).entries()) == written


def test_a_verified_run_tells_its_head(stored: StoredRun) -> None:
    head, torn = stored.verify()
    assert head.size == 30
    assert torn is None
    assert [mark.head for mark in stored.checkpoints()] == [head.hash]


def test_a_name_is_taken_once(place: Path, stored: StoredRun) -> None:
    """Safety rule 7: create-only."""
    before = file_of(stored).read_bytes()
    with pytest.raises(JournalUnwritable, match="File exists"):
        create(place)
    assert file_of(stored).read_bytes() == before


def test_a_run_that_was_closed_goes_on_where_it_was(place: Path) -> None:
    journal = create(place)
    journal.append(drafts()[:10])
    journal.close()
    resumed, torn = LocalBook(place).find(RUN).resume(ME)
    resumed.append(drafts()[10:])
    resumed.close()

    assert torn is None
    assert LocalBook(place).find(RUN).verify()[0].size == 30


def test_a_journal_that_was_closed_takes_nothing_more(place: Path) -> None:
    journal = create(place)
    journal.close()
    with pytest.raises(JournalUnwritable, match="takes no more entries"):
        journal.append(drafts()[:1])


def test_closing_a_journal_twice_closes_nobody_elses_file(place: Path) -> None:
    journal = create(place)
    journal.close()
    with (place / "innocent").open("w") as file:  # gets the number that is free now
        journal.close()
        file.write("x")


# Attacks on what is written


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


# One writer


HOLD = """
import sys
from pathlib import Path
from dr.audit.journal import LocalBook
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


def test_everything_that_was_said_to_be_durable_is_there_after_a_kill(place: Path, holder: Holder) -> None:
    said = [holder.append() for _ in range(10)]
    holder.kill()
    assert said == [entry.seq for entry in LocalBook(place).find(RUN).entries()]


def test_who_asks_whether_a_run_is_held_does_not_keep_a_writer_out(place: Path) -> None:
    create(place).close()
    run = LocalBook(place).find(RUN)
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            run.is_held()

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(100):
            run.resume(ME)[0].close()
    finally:
        done.set()
        for reader in readers:
            reader.join()


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
        assert file_of(stored).read_bytes() == whole + last
        kept = list(stored.directory.glob("torn-*"))
        assert [path.read_bytes() for path in kept] == ([unfinished] if unfinished else [])
        for path in kept:
            assert torn
            assert path.name == f"torn-{complete}-{torn.sha256[:16]}"
            path.unlink()


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


# No room, no permission


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(place: Path) -> None:
    (place / "runs").write_text("a file where a folder should be")
    with pytest.raises(JournalUnwritable, match="File exists") as refused:
        create(place)
    assert refused.value.stands == "nothing was touched"
    assert [path.name for path in place.iterdir()] == ["runs"]
    assert refused.value.hint.endswith("dr run")


def test_a_checkpoint_that_cannot_be_written_is_an_error_that_says_so(journal: LocalJournal, place: Path) -> None:
    journal.append(drafts()[:2])
    (place / "runs" / RUN / CHECKPOINTS).mkdir()
    with pytest.raises(JournalUnwritable, match="Is a directory"):
        journal.checkpoint("now", "ada")


def test_a_run_whose_journal_is_gone_cannot_be_resumed(place: Path) -> None:
    with pytest.raises(JournalUnwritable, match="No such file"):
        StoredRun(place).resume(ME)


def test_a_write_that_is_taken_only_in_part_is_an_error_and_leaves_an_unfinished_line(place: Path) -> None:
    """Safety rule 8. A limit on the size of files does what a full disk does: it takes a part and refuses the rest."""
    journal = create(place)
    journal.append(drafts()[:2])
    run = LocalBook(place).find(RUN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_of(run).stat().st_size + 100, hard))
    try:
        with pytest.raises(JournalUnwritable, match="File too large"):
            journal.append(drafts()[2:4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.close()

    resumed, torn = run.resume(ME)
    assert torn
    assert (torn.seq, torn.bytes) == (2, 100)
    resumed.append(drafts()[2:])
    resumed.close()
    assert run.verify()[0].size == 30


def own_mounts() -> list[str]:
    """The command that runs another one with mounts of its own. Root needs no namespace of users for that."""
    command = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounts of its own need root or user namespaces")
    return command


def test_a_full_disk_stops_the_run_before_the_effect_and_it_goes_on_when_there_is_room(place: Path) -> None:
    """Safety rules 1 and 8, on a disk that is really full: at the creation, and at every kilobyte on the way."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -m tests.audit.full_disk "$1"'
    command = [*own_mounts(), "sh", "-c", script, "sh", str(place), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["stopped"] > 3
    assert said["torn"] > 0


# The book of all runs


def test_runs_are_found_by_name_by_the_beginning_of_a_name_and_as_the_latest(place: Path) -> None:
    for name in ("20230515-a-1", "20230515-b-1", "20230516-a-1"):
        create(place, name).close()
    book = LocalBook(place)
    assert [run.run for run in book.runs()] == ["20230515-a-1", "20230515-b-1", "20230516-a-1"]
    assert book.find("20230515-b-1").run == "20230515-b-1"
    assert book.find("20230516").run == "20230516-a-1"
    assert book.find("latest").run == "20230516-a-1"


@pytest.mark.parametrize("name", ["", "x", "..", "../runs/20230515-a-1", "20230515-a-1/", ".", "/"])
def test_a_name_that_fits_no_run_is_told(place: Path, name: str) -> None:
    create(place, "20230515-a-1").close()
    with pytest.raises(NoSuchRun, match="there is no run"):
        LocalBook(place).find(name)


def test_a_name_that_fits_several_runs_is_told(place: Path) -> None:
    for name in ("20230515-a-1", "20230515-b-1"):
        create(place, name).close()
    with pytest.raises(NoSuchRun, match="fits 2 runs: 20230515-a-1, 20230515-b-1"):
        LocalBook(place).find("2023")


def test_the_exact_name_of_a_run_is_not_the_beginning_of_another(place: Path) -> None:
    for name in ("20230515-a", "20230515-a-1"):
        create(place, name).close()
    assert LocalBook(place).find("20230515-a").run == "20230515-a"


def test_a_directory_without_runs_has_none(place: Path) -> None:
    assert LocalBook(place).runs() == ()
    with pytest.raises(NoSuchRun):
        LocalBook(place).find("latest")


def test_texts_of_every_kind_stay_one_line_and_come_back_as_they_were(place: Path) -> None:
    journal = create(place)
    said = "line\nbreak \u2028 \x00 \x1b[31m \U0001f525 ' \" \\ \r\t"
    journal.append([Draft("now", "ada", e.RunStopped(because=said))])
    journal.close()

    run = LocalBook(place).find(RUN)
    assert run.verify()[0].size == 1
    (entry,) = run.entries()
    assert entry.event == e.RunStopped(because=said)
