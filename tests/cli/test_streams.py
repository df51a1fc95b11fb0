"""A run does not depend on who reads what it prints, nor on what their terminal can show."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import (
    GOOD,
    PATIENCE,
    RUN,
    command,
    dr,
    environment,
    flags_off,
    journal,
    locked,
    refused,
    started,
    types,
    until,
    write,
)


def in_shell(folder: Path, line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`dr` with its streams redirected as the line of shell says; `"$@"` is the command."""
    return subprocess.run(
        ["/bin/sh", "-c", line, "sh", *command(*arguments)], cwd=folder, env=environment(folder),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["plain", "json"])
def test_a_run_goes_on_whatever_its_streams_are(redirection: str, form: tuple[str, ...], folder: Path) -> None:
    done = in_shell(folder, f'exec "$@" {redirection}', *RUN, *form)
    assert (done.returncode, done.stderr) == (0, "")
    assert flags_off(folder) == {"search"}
    assert dr(folder, "audit", "verify", "latest").status == 0


def test_a_run_goes_on_when_its_reader_has_gone(folder: Path) -> None:
    with started(folder, *RUN, stdout=subprocess.PIPE) as process:
        with locked(folder / "flags.json"):
            until(lambda: "apply-started" in types(folder))
            assert process.stdout is not None
            process.stdout.close()
        assert process.wait(PATIENCE) == 0
    assert flags_off(folder) == {"search"}
    assert types(folder)[-1] == "run-ended"


def test_the_exit_status_is_told_although_nobody_reads_the_error(folder: Path) -> None:
    write(folder, {"good.yaml": GOOD.replace("kind", "knid")})
    assert in_shell(folder, 'exec "$@" 2>&-', *RUN).returncode == 8
    assert in_shell(folder, 'exec "$@" 2>/dev/full', *RUN).returncode == 8


def test_a_reader_that_has_seen_enough_is_no_error(folder: Path) -> None:
    dr(folder, *RUN)
    read, write_end = os.pipe()
    os.close(read)
    done = subprocess.run(
        command("audit", "show", "latest"), cwd=folder, env=environment(folder), stdout=write_end,
        stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
    )  # fmt: skip
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_message_to_the_operator_never_lands_in_the_journal(folder: Path) -> None:
    """With standard error closed, the next file to be opened would take its number."""
    closed = ["/bin/sh", "-c", 'exec "$@" 2>&- >&- <&-', "sh", *command(*RUN)]
    with locked(folder / "flags.json"):
        process = subprocess.Popen(closed, cwd=folder, env=environment(folder))
        until(lambda: "apply-started" in types(folder))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 130
    assert dr(folder, "audit", "verify", "latest").status == 0


def test_a_lost_terminal_stops_the_run_at_the_next_safe_point(folder: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with started(folder, *RUN) as process:
            with locked(folder / "flags.json"):
                until(lambda: "apply-started" in types(folder))
                process.send_signal(signal.SIGHUP)
            assert process.wait(PATIENCE) == 6
    finally:
        signal.signal(signal.SIGHUP, before)
    assert types(folder)[-1] == "run-stopped"
    assert dr(folder, "resume", "latest").status == 0
    assert flags_off(folder) == {"search"}


def test_under_nohup_a_run_outlives_its_terminal(folder: Path) -> None:
    with locked(folder / "flags.json"):
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'trap "" HUP; exec "$@" >out.txt', "sh", *command(*RUN)],
            cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: "apply-started" in types(folder))
        process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert types(folder)[-1] == "run-ended"


@pytest.mark.parametrize(
    "terminal",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_a_terminal_without_the_characters_shows_their_codes(terminal: dict[str, str], folder: Path) -> None:
    write(folder, {"good.yaml": GOOD.replace("Switch", "Wärme, Switch")})
    seen = dr(folder, *RUN, **terminal)
    assert (seen.status, seen.err) == (0, "")
    assert "rme" in seen.out
    assert flags_off(folder) == {"search"}


def test_what_a_target_or_person_wrote_does_not_steer_the_terminal(folder: Path) -> None:
    write(
        folder,
        {"good.yaml": GOOD.replace("title: Switch", 'title: "\\e[2J\\nSwitch').replace(" database", ' database"')},
    )
    seen = dr(folder, *RUN, "--reason", "\x1b]0;owned\x07\nrun ended: completed")
    assert seen.status == 0
    shown = seen.out + dr(folder, "show", "latest").out + dr(folder, "audit", "show", "latest").out
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07\\nrun ended: completed" in shown
    assert journal(folder)[0]["reason"].startswith("\x1b]0;owned")


def test_nothing_needs_a_home(folder: Path) -> None:
    without = {name: value for name, value in environment(folder).items() if name not in {"HOME", "LOGNAME"}}
    done = subprocess.run(
        command(*RUN),
        cwd=folder,
        env=without,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_disk_that_is_full_for_the_output_of_a_report_is_told(folder: Path) -> None:
    done = in_shell(folder, 'exec "$@" >/dev/full', "runs")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_no_text_is_shown_by_its_code(folder: Path) -> None:
    assert "\\udcff.yaml" in refused(folder, "check", "\udcff.yaml", status=8)
