"""The journal on a real disk: what it promises, where there is no room for it, and the book of all runs."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.audit.book import LocalBook
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN, Draft, LocalJournal
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.plan import encode_plan
from dr.errors import JournalUnwritable, NoSuchRun
from tests.audit.written import ME, NINE, RUN, create, drafts, file_of
from tests.namespaces import own_mounts

HERE = Path(__file__).parent


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


class Syncs:
    """Which files were synced, and how much of each stood in them then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, int] = {}
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name)))

    def _noting(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(file: int) -> None:
            sync(file)
            self.seen[Path(f"/proc/self/fd/{file}").readlink().name] = os.fstat(file).st_size

        return note


def test_everything_that_makes_a_run_is_on_stable_storage_before_the_first_entry(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safety rule 1: files, and the folders that hold their names, also those that were made for it."""
    syncs = Syncs(monkeypatch)
    create(place / "deep" / "down").close()
    assert set(syncs.seen) == {PLAN, JOURNAL, RUN, "runs", "down", "deep", place.name}
    assert syncs.seen[PLAN] == len(encode_plan(NINE))


def test_an_entry_is_on_stable_storage_when_append_returns(
    place: Path, journal: LocalJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safety rule 1."""
    syncs = Syncs(monkeypatch)
    path = file_of(LocalBook(place).find(RUN))
    for draft in drafts()[:5]:
        journal.append([draft])
        assert syncs.seen.pop(JOURNAL) == path.stat().st_size


def test_a_checkpoint_is_on_stable_storage_when_it_returns(
    journal: LocalJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(drafts()[:2])
    syncs = Syncs(monkeypatch)
    journal.checkpoint("now", "ada")
    assert set(syncs.seen) == {CHECKPOINTS, RUN}
    assert syncs.seen[CHECKPOINTS] > 0


def test_an_unfinished_line_is_kept_on_stable_storage_before_it_is_cut_off(
    stored: StoredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stored.directory / CHECKPOINTS).unlink()
    with file_of(stored).open("ab") as file:
        file.write(b"unfinished")
    syncs = Syncs(monkeypatch)
    stored.resume(ME)[0].close()
    kept, *after = syncs.seen
    assert kept.endswith(".part")
    assert after == [RUN, JOURNAL]


# No room, no permission


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(place: Path) -> None:
    (place / "runs").write_text("a file where a folder should be")
    with pytest.raises(JournalUnwritable, match="Not a directory") as refused:
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
