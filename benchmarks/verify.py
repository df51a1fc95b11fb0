"""How fast `dr audit verify` reads a journal of 1,000,000 entries, and in how much memory.

Included: the whole process, Python's start too, on one processor (it is pinned there). The journal lies in the page
cache, so the figure is that of reading, hashing and judging, not of the disk. What is judged are the chain and the
checkpoints; replaying the run is another command for a journal of this length (`--replay`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.goals import Row, at_least, at_most
from benchmarks.inputs import write_environment, write_runbook
from benchmarks.measure import Place, fresh, interleave, run
from benchmarks.runs import journal_of, run_arguments, verify_arguments

LONG_JOURNAL = Path(__file__).parent / "baselines" / "long_journal.py"
ENTRIES = 1_000_000


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    runbook = write_runbook(place.work / "ten.yaml", 10)
    folder = fresh(place.work / "state")
    run([place.dr, *run_arguments(runbook, folder)], cwd=place.work)
    journal = journal_of(folder)
    run([place.python, LONG_JOURNAL, journal, str(ENTRIES)], cwd=place.work)
    cpu = min(os.sched_getaffinity(0))
    command: list[str | Path] = [place.dr, *verify_arguments(folder, journal.parent.name)]
    cost = interleave(5, {"verify": lambda: run(command, cwd=place.work, cpu=cpu)})["verify"]
    medians = {"seconds": cost.seconds, "processor seconds": cost.cpu_seconds, "MB": journal.stat().st_size / 1e6}
    yield Row(
        "audit verify of 1,000,000 entries, one core", ENTRIES / cost.seconds, "entries/s", at_least(800_000), medians
    )
    yield Row("peak memory of that", cost.peak_mb, "MB", at_most(30))
