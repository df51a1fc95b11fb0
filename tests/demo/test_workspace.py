import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from dr.demo import postgres, process_tree, wait
from dr.demo.postgres import Server
from dr.demo.workspace import CommandFailed, Workspace

BUSY = "/*busy*/ select count(*) from generate_series(1, 100000000000)"

# A process with a child that it traces, as strace does.
TRACED = """
import ctypes, os, time
if os.fork() == 0:
    ctypes.CDLL(None).ptrace(0, 0, None, None)  # PTRACE_TRACEME
    os.kill(os.getpid(), 19)
time.sleep(600)
"""

# An owner that fills its workspace with what is hard to end: servers, a backend busy in a query that never looks up,
# a frozen server, and a program deaf to every signal it may ignore.
OWNER = """
import signal, threading, time
from dr.demo import postgres, wait
from dr.demo.workspace import Workspace

BUSY = "/*busy*/ select count(*) from generate_series(1, 100000000000)"

with Workspace() as workspace:
    primary, standby = postgres.pair_in(workspace)
    threading.Thread(target=lambda: primary.connect().execute(BUSY), daemon=True).start()
    query = "select count(*) from pg_stat_activity where query like '/*busy%'"
    wait.until(lambda: primary.connect().execute(query).fetchone()[0] == 1, 10, "a busy backend")
    standby.freeze()
    workspace.spawn(["sh", "-c", "trap '' INT TERM HUP QUIT; while :; do sleep 1; done"], "deaf.log")
    print(workspace.directory, flush=True)
    time.sleep(600)
"""


def inhabitants(directory: Path) -> list[psutil.Process]:
    """The processes that live in a directory: there, or started with it in their arguments."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        words = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.info["status"] != "zombie" and any(str(directory) in word for word in words):
            found.append(process)
    return found


def segments(directory: Path) -> set[str]:
    """The System V shared memory of the servers in a directory."""
    locks = directory.glob("*/postmaster.pid")
    return {lock.read_text().splitlines()[6].split()[1] for lock in locks}


def existing_segments() -> set[str]:
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_an_owner_that_ends_by(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        memory = segments(directory)
        assert len(inhabitants(directory)) > 10
        assert len(memory) == 2
        assert memory <= existing_segments()
        os.killpg(owner.pid, number)  # as a terminal does, and all who share the owner's group
    wait.until(lambda: not directory.exists(), 30, "the directory is gone")
    wait.until(lambda: not inhabitants(directory), 30, "the sweeper has ended")
    assert not memory & existing_segments()


def test_an_error_inside_ends_everything_and_comes_through() -> None:
    children: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with workspace:
            children.append(workspace.spawn(["sleep", "600"], "sleep.log"))
            raise ZeroDivisionError

    workspace = Workspace()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert children[0].returncode == -signal.SIGKILL
    assert not workspace.directory.exists()


def test_a_busy_backend_whose_postmaster_was_killed_is_ended() -> None:
    with Workspace() as workspace:
        primary = postgres.primary_in(workspace)
        query = threading.Thread(target=ask, args=[primary, BUSY], daemon=True)
        query.start()
        wait.until(lambda: busy(primary) is not None, 30, "a busy backend")
        backend = busy(primary)
        os.kill(primary.pid, signal.SIGKILL)
        assert backend is not None
        assert backend.is_running()
    assert process_tree.ended(backend)
    query.join()


def ask(server: Server, query: str) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        server.connect().execute(query)


def busy(server: Server) -> psutil.Process | None:
    """The backend that is busy with the endless query."""
    with server.connect() as connection:
        row = connection.execute("select pid from pg_stat_activity where query like '/*busy%'").fetchone()
    return psutil.Process(int(str(row[0]))) if row else None


def test_a_program_that_is_being_traced_is_ended_with_the_others() -> None:
    with Workspace() as workspace:
        traced = workspace.spawn([sys.executable, "-c", TRACED], "traced.log")
        other = workspace.spawn(["sleep", "600"], "sleep.log")
        child = psutil.Process(traced.pid)
        wait.until(lambda: [one.status() for one in child.children()] == ["tracing-stop"], 30, "a traced process")
        processes = [child, *child.children()]
    assert other.returncode == -signal.SIGKILL
    assert all(process_tree.ended(process) for process in processes)


def test_a_sweeper_that_is_told_to_stop_goes_on_until_its_owner_is_done() -> None:
    with Workspace() as workspace:
        sweeper = workspace._sweeper
        wait.until(lambda: ignores(sweeper.pid, signal.SIGTERM), 30, "the sweeper is ready")
        sweeper.terminate()
        child = workspace.spawn(["sleep", "600"], "sleep.log")
    assert child.returncode == -signal.SIGKILL
    assert not workspace.directory.exists()


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_failed_program_is_told_with_its_last_words() -> None:
    with (
        Workspace() as workspace,
        pytest.raises(CommandFailed, match=r"^sh ended with status 3\nfarewell$"),
    ):
        workspace.run(["sh", "-c", "echo farewell; exit 3"], "sh.log")
