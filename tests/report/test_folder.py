import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dr.audit.book import LocalBook
from dr.cli.main import main
from dr.core.plan import encode_plan
from dr.errors import JournalBroken, NoSuchRun, PlanChanged, UsageError
from dr.report.exhibit import Exhibits, Mark, Series
from dr.report.folder import write_report
from tests.report.parsed import parse, rows, section
from tests.report.recorded import OVERLOAD, RUN, START, record, recovered

SERIES = Series(
    title="t", unit="%", points=((START, 1.0),), until=START + 1, marks=(Mark(at=START, label="detected"),), how="so"
)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_journal_lies_beside_the_page_byte_for_byte(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    (stored.directory / "torn-7").write_bytes(b'{"prev":"unfinis')
    write_report(tmp_path / "report", stored)
    kept = files(tmp_path / "report")
    assert set(kept) == {
        "report.html", "timeline.txt",
        *(f"runs/{RUN}/{name}" for name in ("plan.json", "journal.jsonl", "checkpoints.jsonl", "torn-7")),
    }  # fmt: skip
    for name in ("plan.json", "journal.jsonl", "checkpoints.jsonl", "torn-7"):
        assert kept[f"runs/{RUN}/{name}"] == (stored.directory / name).read_bytes()


def test_copy_verifies_with_the_ordinary_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "report", record(tmp_path / "journal", OVERLOAD, recovered()))
    with pytest.raises(SystemExit) as left:
        main(["audit", "verify", RUN, "--journal", str(tmp_path / "report")])
    assert left.value.code == 0
    assert "verified; 15 entries" in capsys.readouterr().out


def test_every_other_file_is_listed_with_its_hash(tmp_path: Path) -> None:
    write_report(tmp_path / "report", record(tmp_path / "journal", OVERLOAD, recovered()), Exhibits(series=(SERIES,)))
    kept = files(tmp_path / "report")
    page = parse(kept.pop("report.html").decode())
    listed = rows(next(section(page, "In this folder").all("table")))
    assert listed == [
        [name, f"{len(content):,}", hashlib.sha256(content).hexdigest()] for name, content in sorted(kept.items())
    ]


def test_series_is_kept_as_data(tmp_path: Path) -> None:
    laid = Exhibits(series=(SERIES,))
    write_report(tmp_path / "report", record(tmp_path / "journal", OVERLOAD, recovered()), laid)
    assert msgspec.json.decode((tmp_path / "report" / "exhibits.json").read_bytes(), type=Exhibits) == laid


def test_same_run_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    for name, zone, seed in (("here", "UTC", "1"), ("there", "Asia/Tokyo", "2")):
        script = (
            "import sys; from pathlib import Path; from dr.audit.stored import StoredRun\n"
            "from dr.report.folder import write_report\n"
            "write_report(Path(sys.argv[1]), StoredRun(Path(sys.argv[2])))"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name), str(stored.directory)],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed},
            check=True,
        )
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_report_is_never_written_over(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    write_report(tmp_path / "report", stored)
    (tmp_path / "report" / "note.txt").write_text("mine")
    before = files(tmp_path / "report")
    with pytest.raises(UsageError, match="Directory not empty"):
        write_report(tmp_path / "report", stored)
    assert files(tmp_path / "report") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "report"]


def test_empty_folder_and_missing_parents_are_welcome(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    (tmp_path / "empty").mkdir()
    write_report(tmp_path / "empty", stored)
    write_report(tmp_path / "a" / "b", stored)
    assert files(tmp_path / "empty") == files(tmp_path / "a" / "b")


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"the report cannot be written: .*file"):
        write_report(tmp_path / "file" / "report", stored)


def test_there_is_no_report_of_an_edited_journal(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    journal = stored.directory / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"connection refused", b"connection granted"))
    with pytest.raises(JournalBroken, match="entry 8"):
        write_report(tmp_path / "report", stored)
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_there_is_no_report_of_an_edited_plan(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    plan = stored.directory / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b"graceful", b"careless"))
    with pytest.raises(PlanChanged):
        write_report(tmp_path / "report", stored)
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_there_is_no_report_of_a_run_that_never_started(tmp_path: Path) -> None:
    book = LocalBook(tmp_path / "journal")
    book.create(RUN, encode_plan(OVERLOAD), "pid 1").close()
    with pytest.raises(NoSuchRun, match="never started"):
        write_report(tmp_path / "report", book.find(RUN))


def test_unfinished_entry_is_kept_and_told(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered()[:4])
    with (stored.directory / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"prev":"unfinis')
    write_report(tmp_path / "report", stored)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "16 bytes of an entry at the end, as a crash leaves it" in page
    assert "Not ended" in page


def test_report_is_no_more_open_than_the_journal(tmp_path: Path) -> None:
    stored = record(tmp_path / "journal", OVERLOAD, recovered())
    write_report(tmp_path / "report", stored)
    assert (tmp_path / "report").stat().st_mode & 0o007 == 0
    assert (tmp_path / "report" / "runs" / RUN / "journal.jsonl").stat().st_mode == (
        stored.directory / "journal.jsonl"
    ).stat().st_mode


def test_command_makes_the_folder_and_says_where_the_page_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "journal", OVERLOAD, recovered())
    with pytest.raises(SystemExit) as left:
        main(["show", "latest", "--journal", str(tmp_path / "journal"), "--report", str(tmp_path / "report")])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "actual recovery time: 14.5 s from detection; objective 5m: met" in said
    assert said.endswith(f"report: {tmp_path / 'report' / 'report.html'}\n")
    assert (tmp_path / "report" / "report.html").is_file()
