"""The process that cleans up after a workspace: `python -m dr.demo.sweeper DIRECTORY`, process ids on standard input.

It waits for the end of its input, which is the end of the workspace's owner.
"""

import contextlib
import ctypes
import itertools
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from dr.demo import process_tree, wait

IPC_RMID = 0


def main(directory: Path) -> None:
    # Whoever signals a whole group or logs out must not stop the cleaning; only the owner's end starts it.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    processes: list[psutil.Process] = []
    for line in sys.stdin:
        with contextlib.suppress(psutil.NoSuchProcess):  # it was quicker than this loop
            processes.append(psutil.Process(int(line)))  # remembers the start time: a reused id is no match
    remaining: list[str] = []
    for process in itertools.chain(processes, orphans(directory)):
        try:
            process_tree.kill(process)
        except wait.WaitExpired as expired:  # the others are ended all the same
            remaining.append(str(expired))
    for lock in directory.glob("*/postmaster.pid"):
        remove_shared_memory(lock)
    shutil.rmtree(directory)
    if remaining:
        sys.exit("\n".join(remaining))


def orphans(directory: Path) -> Iterator[psutil.Process]:
    """Backends that outlived a postmaster which somebody else killed: busy in a query, they do not notice."""
    for process in psutil.process_iter(["name", "cwd"]):
        place = process.info["cwd"]
        if process.info["name"] == "postgres" and place and Path(place).is_relative_to(directory):
            yield process


def remove_shared_memory(lock: Path) -> None:
    """Remove the System V segment a killed PostgreSQL leaves; its id is in the lock file's 7th line."""
    with contextlib.suppress(IndexError):  # killed before it had a segment
        segment = lock.read_text().splitlines()[6].split()[1]
        ctypes.CDLL(None).shmctl(int(segment), IPC_RMID, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
