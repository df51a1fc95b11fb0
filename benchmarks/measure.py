"""Whole processes, timed beside each other.

A figure here is the wall-clock time from just before a process is started to its end, and the peak of its resident
memory as the kernel counted it (wait4). Contestants take turns: one run of each is a round, the order turns with every
round, and a contestant's figure is the median over the rounds, so that a machine that slows down slows all of them.
"""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds on the clock, seconds on the processors, peak resident memory in MB (10^6)."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Place:
    """Where the contestants live and where their files go."""

    python: Path
    dr: Path
    peers: Path
    work: Path

    @property
    def peers_python(self) -> Path:
        return self.peers / "python"


class ProcessFailedError(Exception):
    """A contestant ended with another status than the expected one: its time would mean nothing."""


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    expect: int = 0,
    cpu: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run one process to its end, its output into a file beside it, on one processor if `cpu` names it.

    The peak of memory is never less than this process's own (a child begins as a copy), so this one stays small.
    Raises ProcessFailedError, with the end of the output, when the exit status is not `expect`.
    """
    output = cwd / "output.txt"
    allowed = os.sched_getaffinity(0)
    with output.open("wb") as sink:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        begin = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
        if cpu is not None:
            os.sched_setaffinity(0, allowed)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expect:
        tail = output.read_text(errors="replace")[-2000:]
        message = f"{' '.join(map(str, argv))}: status {process.returncode}, expected {expect}\n{tail}"
        raise ProcessFailedError(message)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def interleave(rounds: int, contestants: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Let every contestant run once per round, after one round that does not count; medians of time, peak of memory."""
    names = list(contestants)
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for name in names:
        contestants[name]()
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            costs[name].append(contestants[name]())
    return {name: _median(of) for name, of in costs.items()}


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        max(cost.peak_mb for cost in costs),
    )
