import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """The only place for temporary files that a demo knows. Its path is short: sockets are in it."""
    with tempfile.TemporaryDirectory(prefix="dr-") as name:
        yield Path(name)


# What an operator's shell may hold, and what must not lead the demo to the operator's own databases and journal.
FOREIGN = {"PGHOST": "db.invalid", "PGSSLMODE": "require", "PGDATABASE": "payroll"}


@contextmanager
def demo(place: Path, reports: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "dr", "demo", "--report", reports, *arguments],
        env={**os.environ, **FOREIGN, "DR_JOURNAL": str(place / "own journal"), "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_of(place: Path) -> list[psutil.Process]:
    """Processes that live in the place, or were started with it in their arguments."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        words = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(place) in word for word in words):
            found.append(process)
    return found


def test_two_demos_side_by_side_recover_even_where_dr_is_killed_in_the_middle(place: Path, tmp_path: Path) -> None:
    reports = {"undisturbed": tmp_path / "undisturbed", "killed": tmp_path / "killed"}
    with (
        demo(place, reports["undisturbed"]) as undisturbed,
        demo(place, reports["killed"], "--kill", "end-runaway-queries") as killed,
    ):
        told = {"undisturbed": undisturbed.communicate()[0], "killed": killed.communicate()[0]}
    assert (undisturbed.returncode, killed.returncode) == (0, 0), "\n".join(told.values())
    for name, text in told.items():
        [report] = reports[name].iterdir()
        exhibits = json.loads((report / "exhibits.json").read_text())
        assert max(value for _, value in exhibits["series"][0]["points"]) > 80
        assert f"dr audit verify {report.name}" in text
        assert "verified" in text
        assert "after the alarm" in text.splitlines()[-2]
    assert "SIGKILL" in told["killed"]
    assert "run resumed" in told["killed"]
    assert not list(place.iterdir())
    assert not processes_of(place)


def test_nothing_is_left_of_a_demo_that_is_interrupted_in_the_outage(place: Path, tmp_path: Path) -> None:
    with demo(place, tmp_path) as process:
        assert process.stdout is not None
        while "dr run" not in (line := process.stdout.readline()):
            assert line, "the demo has ended before its outage"
        assert len(processes_of(place)) > 10
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
    assert process.returncode == 130
    assert "everything that was started is gone" in rest
    assert not list(place.iterdir())
    assert not processes_of(place)
    assert not list(tmp_path.iterdir())


def test_a_part_that_does_not_start_is_told_with_its_reason(place: Path, tmp_path: Path) -> None:
    deep = place / ("d" * 100)  # the path of a socket has 107 characters at most
    deep.mkdir()
    with demo(deep, tmp_path) as process:
        text, _ = process.communicate()
    assert process.returncode == 16
    assert "is too long" in text
    assert not list(deep.iterdir())
    assert not processes_of(place)


def test_a_report_that_cannot_be_written_is_told_before_anything_is_started(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with demo(place, tmp_path / "file" / "reports") as process:
        text, _ = process.communicate()
    assert process.returncode == 2
    assert "cannot be written" in text
    assert not list(place.iterdir())


def test_a_step_that_does_not_exist_is_told_before_anything_is_started(place: Path, tmp_path: Path) -> None:
    with demo(place, tmp_path, "--kill", "shift-read") as process:
        text, _ = process.communicate()
    assert process.returncode == 2
    assert "no step 'shift-read'" in text
    assert "shift-reads" in text
    assert not list(place.iterdir())
