"""How soon a run goes on after its process was killed.

A run of 1,000 no-op steps is really killed (SIGKILL) when its journal shows that step 500 has begun. What is left is
copied for each round. The figure is the time from just before `dr resume` is started, Python's start and the
verification of the journal included, to the moment that the intent of the first step that had not begun carries in its
entry. DBOS does the same: its process kills itself in step 500; it looks for unfinished workflows by itself when it is
started again, and the figure ends where its first step is called.
"""

import json
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.goals import Row, at_least, at_most
from benchmarks.inputs import write_environment, write_runbook
from benchmarks.measure import Place, fresh, run
from benchmarks.runs import journal_of, resume_arguments, run_arguments

DBOS_STEPS = Path(__file__).parent / "peers" / "dbos_steps.py"
STEPS, KILLED_AT = 1_000, 500
ROUNDS = 9


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    killed, begun = _killed_run(place)
    _kill_dbos(place)
    ours, theirs, repeated = [], [], 0
    for _ in range(ROUNDS):
        seconds, again = _resume(place, killed, begun)
        ours.append(seconds)
        repeated += again
        theirs.append(_resume_dbos(place))
    dr, dbos = statistics.median(ours), statistics.median(theirs)
    yield Row("resume: command to first new step", dr, "s", at_most(0.15), {"steps begun before": len(begun)})
    yield Row("steps applied again without being looked at", repeated, "steps", at_most(0))
    yield Row("the same for DBOS / dr", dbos / dr, "x", at_least(1.0), {"dbos": dbos, "dr": dr})


def _killed_run(place: Place) -> tuple[Path, list[str]]:
    """A run killed after step 500 has begun: where it lies, and the steps that had begun."""
    folder = fresh(place.work / "killed")
    runbook = write_runbook(place.work / "thousand.yaml", STEPS)
    command: list[str | Path] = [place.dr, *run_arguments(runbook, folder)]
    process = subprocess.Popen(
        command, cwd=place.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and _count(folder, b'"apply-started"') <= KILLED_AT:
        time.sleep(0.001)
    process.kill()
    if process.wait() != -signal.SIGKILL:
        message = f"the run ended with {process.returncode} before it could be killed"
        raise RuntimeError(message)
    return folder, [step for step, _ in _intents(journal_of(folder))]


def _count(folder: Path, word: bytes) -> int:
    found = list(folder.rglob("journal.jsonl"))
    return found[0].read_bytes().count(word) if found else 0


def _intents(journal: Path) -> Sequence[tuple[str, float]]:
    """Each recorded intent: its step, and when (seconds since 1970). An unfinished last line is no entry."""
    entries = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
    return [
        (entry["event"]["step"], datetime.fromisoformat(entry["at"]).timestamp())
        for entry in entries
        if entry["event"]["type"] == "apply-started"
    ]


def _resume(place: Place, killed: Path, begun: Sequence[str]) -> tuple[float, int]:
    """Seconds until the first new step, and how many steps that had begun were applied again."""
    folder = place.work / "state"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed, folder)
    journal = journal_of(folder)
    begin = time.time()
    run([place.dr, *resume_arguments(folder, journal.parent.name)], cwd=place.work)
    after = _intents(journal)[len(begun) :]
    new = [at for step, at in after if step not in set(begun)]
    return new[0] - begin, len(after) - len(new)


def _kill_dbos(place: Place) -> None:
    database = fresh(place.work / "dbos-killed") / "steps.sqlite"
    arguments = [str(database), "bench", str(STEPS), "--die-at", str(KILLED_AT)]
    run([place.peers_python, DBOS_STEPS, *arguments], cwd=place.work, expect=-signal.SIGKILL)


def _resume_dbos(place: Place) -> float:
    folder = place.work / "dbos"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(place.work / "dbos-killed", folder)
    mark = folder / "mark"
    begin = time.time()
    run(
        [place.peers_python, DBOS_STEPS, folder / "steps.sqlite", "bench", str(STEPS), "--resume", mark], cwd=place.work
    )
    return float(mark.read_text()) - begin
