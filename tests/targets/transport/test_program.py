import sys
import time
from pathlib import Path

import psutil
import pytest

from dr.demo import wait
from dr.targets.protocols import TargetUnreachable
from dr.targets.transport.program import MOST_OUTPUT, MOST_WORDS, Started, run


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def test_arguments_arrive_as_they_are_and_no_shell_sees_them() -> None:
    said = run("db1", ["printf", "%s|", "a b", "$(id)", "x;y", "*", "'"], soon())
    assert said.out == "a b|$(id)|x;y|*|'|"


def test_what_it_complains_about_is_told_on_one_line() -> None:
    said = run("db1", [sys.executable, "-c", "import sys; sys.exit('no\\n  such thing')"], soon())
    assert (said.status, said.words()) == (1, "no such thing")


def test_of_many_words_the_last_are_kept_because_they_say_why_it_ended() -> None:
    words = run("db1", ["sh", "-c", 'seq 100000 >&2; echo "ERROR: no room" >&2; exit 1'], soon()).words()
    assert words.startswith("1 2 3 ")
    assert words.endswith(" ERROR: no room")
    assert len(words) < 2 * MOST_WORDS


@pytest.mark.parametrize(
    "script, words",
    [
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("echo at work >&2; kill -KILL $$", "at work; ended by SIGKILL"),
        ('sh -c "kill -SEGV \\$\\$"; exit 139', "ended by SIGSEGV"),
    ],
)
def test_one_that_crashed_is_told_from_one_that_says_no(script: str, words: str) -> None:
    said = run("db1", ["sh", "-c", script], soon())
    assert said.crash()
    assert said.words().endswith(words)
    assert not run("db1", ["sh", "-c", "exit 74"], soon()).crash()


def test_a_program_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(TargetUnreachable, match="db1: /no/such/program cannot be run: No such file"):
        run("db1", ["/no/such/program"], soon())


def test_one_that_waits_for_its_word_does_nothing_without_it(tmp_path: Path) -> None:
    """That dr dies closes its standard input, as this does."""
    argv = ["sh", "-c", 'read -r word || exit 3; echo "$word" >"$1"', "sh", str(tmp_path / "done")]
    kept, dropped = Started("db1", argv), Started("db1", argv)
    dropped.close()
    assert kept.finish(soon()).status == 3
    assert not (tmp_path / "done").exists()
    assert Started("db1", argv).finish(soon(), "go\n").status == 0
    assert (tmp_path / "done").read_text() == "go\n"


def test_one_that_does_not_end_is_killed_with_its_children() -> None:
    child = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)"
    before = {one.pid for one in psutil.process_iter()}
    with pytest.raises(TargetUnreachable, match="did not end in time"):
        run("db1", [sys.executable, "-c", child, "marked-by-the-test"], soon(1))

    def left() -> bool:
        found = [one for one in psutil.process_iter(["cmdline", "status"]) if one.pid not in before]
        return any("marked-by-the-test" in (one.info["cmdline"] or []) for one in found)

    wait.until(lambda: not left(), 30, "both have ended")


def test_a_server_it_leaves_running_is_not_waited_for() -> None:
    """Its output would keep a pipe open."""
    detached = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    said = run("db1", [sys.executable, "-c", detached], soon())
    psutil.Process(int(said.out)).kill()


def test_no_more_is_kept_of_what_it_says_than_the_limit() -> None:
    """Safety rule 15."""
    said = run("db1", [sys.executable, "-c", f"print('x' * {2 * MOST_OUTPUT})"], soon())
    assert len(said.out) == MOST_OUTPUT
