"""What a step costs.

Contestants, as whole processes with their output into a file:

- `dr run` of no-op steps (`note`) with the durable local journal: reading and binding the runbook, the plan written and
  synced, every intent on stable storage before its step, the chain, the progress lines, the final checkpoint.
- The bare loop: a Python program that appends the very bytes of that journal, with fdatasync after the very groups that
  `dr` synced (recorded once from a real run), and does nothing else.
- DBOS Transact on SQLite: one workflow of as many no-op steps; each is recorded, as in `dr`.
- Chaos Toolkit: as many no-op actions, as it comes, with its log file. It is not durable: its journal is written at the
  end of the experiment.

The cost per step is the slope between two sizes, (t(1,000) - t(10)) / 990, which takes the start of the process out of
both sides; the whole-process ratio leaves it in.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.goals import Row, at_least, at_most
from benchmarks.inputs import write_environment, write_experiment, write_runbook
from benchmarks.measure import Cost, Place, fresh, interleave, run
from benchmarks.runs import journal_of, run_arguments

ROOT = Path(__file__).parent.parent
BASELINES = Path(__file__).parent / "baselines"
DBOS_STEPS = Path(__file__).parent / "peers" / "dbos_steps.py"
SIZES = (10, 1_000, 10_000)
PEERS_SIZE = 1_000
ROUNDS = 7


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    write_experiment(place.work / "experiment.json", PEERS_SIZE)
    contestants: dict[str, Callable[[], Cost]] = {}
    for size in SIZES:
        write_runbook(place.work / f"{size}.yaml", size)
        _record(place, size)
        contestants[f"dr {size}"] = lambda size=size: _run_dr(place, size)  # type: ignore[misc]
        contestants[f"loop {size}"] = lambda size=size: _run_loop(place, size)  # type: ignore[misc]
    contestants["dbos"] = lambda: _run_dbos(place)
    contestants["chaos"] = lambda: _run_chaos(place)
    costs = interleave(ROUNDS, contestants)
    times = {name: cost.seconds for name, cost in costs.items()}
    yield from _against_the_loop(times)
    yield from _against_the_peers(times)
    for size in SIZES:
        yield Row(f"peak memory of a run of {size:,} steps", costs[f"dr {size}"].peak_mb, "MB", at_most(30))


def _against_the_loop(times: Mapping[str, float]) -> Iterator[Row]:
    dr, loop = _slope(times, "dr", 10, 1_000), _slope(times, "loop", 10, 1_000)
    yield Row("a step / a durable append of its bytes (slope)", dr / loop, "x", at_most(1.35), {"dr": dr, "loop": loop})
    long = _slope(times, "dr", 1_000, 10_000)
    medians = {"10 to 1,000": dr, "1,000 to 10,000": long}
    yield Row("a step of 10,000 / a step of 1,000 (slopes)", long / dr, "x", at_most(1.1), medians)
    for size in SIZES:
        dr, loop = times[f"dr {size}"], times[f"loop {size}"]
        yield Row(f"{size:,} steps / bare loop (whole process)", dr / loop, "x", None, {"dr": dr, "loop": loop})


def _against_the_peers(times: Mapping[str, float]) -> Iterator[Row]:
    dr = times[f"dr {PEERS_SIZE}"]
    for name, words, bound in (("dbos", "DBOS on SQLite", 7.0), ("chaos", "Chaos Toolkit (not durable)", 1.0)):
        medians = {name: times[name], "dr": dr}
        yield Row(f"{words} / dr, {PEERS_SIZE:,} steps", times[name] / dr, "x", at_least(bound), medians)


def _slope(times: Mapping[str, float], name: str, few: int, many: int) -> float:
    return (times[f"{name} {many}"] - times[f"{name} {few}"]) / (many - few)


def _record(place: Place, size: int) -> None:
    """Run once under the recorder; keep that run's journal and the sizes of its groups for the loop."""
    folder = fresh(place.work / f"recorded-{size}")
    arguments = run_arguments(place.work / f"{size}.yaml", folder)
    run([place.python, BASELINES / "record_syncs.py", folder / "sizes", *arguments], cwd=place.work)


def _run_dr(place: Place, size: int) -> Cost:
    folder = fresh(place.work / "state")
    return run([place.dr, *run_arguments(place.work / f"{size}.yaml", folder)], cwd=place.work)


def _run_loop(place: Place, size: int) -> Cost:
    recorded, copy = place.work / f"recorded-{size}", place.work / "copy.jsonl"
    copy.unlink(missing_ok=True)
    journal = journal_of(recorded)
    return run([place.python, BASELINES / "append_loop.py", journal, recorded / "sizes", copy], cwd=place.work)


def _run_dbos(place: Place) -> Cost:
    folder = fresh(place.work / "dbos")
    return run([place.peers_python, DBOS_STEPS, folder / "steps.sqlite", "bench", str(PEERS_SIZE)], cwd=place.work)


def _run_chaos(place: Place) -> Cost:
    (place.work / "chaostoolkit.log").unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the action is found there
    arguments = ["--no-version-check", "run", "--journal-path", "chaos.json", "experiment.json"]
    return run([place.peers / "chaos", *arguments], cwd=place.work, environment=environment)
