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
both sides; the whole-process ratio leaves it in. Processor time is told beside it: it does not depend on the disk.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.goals import Row, at_least, at_most
from benchmarks.inputs import write_environment, write_experiment, write_runbook
from benchmarks.measure import Cost, Place, fresh, interleave, run
from benchmarks.runs import journal_of, run_arguments

ROOT = Path(__file__).parent.parent
BASELINES = Path(__file__).parent / "baselines"
DBOS_STEPS = Path(__file__).parent / "peers" / "dbos_steps.py"
SIZES = (10, 1_000, 10_000)
BESIDE_PEERS = 1_000


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    write_experiment(place.work / "experiment.json", BESIDE_PEERS)
    for size in SIZES:
        write_runbook(place.work / f"{size}.yaml", size)
        _record(place, size)
    yield from _against_the_loop(place)
    yield from _against_the_peers(place)
    yield from _flatness(place)


def _against_the_loop(place: Place) -> Iterator[Row]:
    costs = interleave(15, _dr_and_loop(place, 10, 1_000))
    dr, loop = _slope(costs, "dr", 10, 1_000), _slope(costs, "loop", 10, 1_000)
    medians = {"dr": dr.seconds, "loop": loop.seconds}
    yield Row("a step / a durable append of its bytes (slope)", dr.seconds / loop.seconds, "x", at_most(1.35), medians)
    medians = {"dr": dr.cpu_seconds, "loop": loop.cpu_seconds}
    yield Row(
        "processor time beyond the loop's, per step", (dr.cpu_seconds - loop.cpu_seconds) * 1e6, "us", None, medians
    )
    for size in (10, 1_000):
        whole, bare = costs[f"dr {size}"], costs[f"loop {size}"]
        medians = {"dr": whole.seconds, "loop": bare.seconds}
        yield Row(f"{size:,} steps / bare loop (whole process)", whole.seconds / bare.seconds, "x", None, medians)
        yield Row(f"peak memory of a run of {size:,} steps", whole.peak_mb, "MB", at_most(30))


def _against_the_peers(place: Place) -> Iterator[Row]:
    contestants = {
        "dr": lambda: _run_dr(place, BESIDE_PEERS),
        "dbos": lambda: _run_dbos(place),
        "chaos": lambda: _run_chaos(place),
    }
    times = {name: cost.seconds for name, cost in interleave(7, contestants).items()}
    for name, words, bound in (("dbos", "DBOS on SQLite", 7.0), ("chaos", "Chaos Toolkit (not durable)", 1.0)):
        medians = {name: times[name], "dr": times["dr"]}
        yield Row(f"{words} / dr, {BESIDE_PEERS:,} steps", times[name] / times["dr"], "x", at_least(bound), medians)


def _flatness(place: Place) -> Iterator[Row]:
    """Each cost per step is divided by the loop's of the same size, so that a disk that slows down does not count."""
    costs = interleave(5, _dr_and_loop(place, *SIZES))
    few = _slope(costs, "dr", 10, 1_000).seconds / _slope(costs, "loop", 10, 1_000).seconds
    many = _slope(costs, "dr", 1_000, 10_000).seconds / _slope(costs, "loop", 1_000, 10_000).seconds
    medians = {"10 to 1,000": few, "1,000 to 10,000": many}
    yield Row("a step's cost over the loop's: 10,000 steps / 1,000", many / few, "x", at_most(1.1), medians)
    yield Row("peak memory of a run of 10,000 steps", costs["dr 10000"].peak_mb, "MB", at_most(30))


def _dr_and_loop(place: Place, *sizes: int) -> dict[str, Callable[[], Cost]]:
    contestants: dict[str, Callable[[], Cost]] = {}
    for size in sizes:
        contestants[f"dr {size}"] = partial(_run_dr, place, size)
        contestants[f"loop {size}"] = partial(_run_loop, place, size)
    return contestants


def _slope(costs: Mapping[str, Cost], name: str, few: int, many: int) -> Cost:
    """What one more step costs."""
    less, more = costs[f"{name} {few}"], costs[f"{name} {many}"]
    count = many - few
    seconds, cpu = (more.seconds - less.seconds) / count, (more.cpu_seconds - less.cpu_seconds) / count
    return Cost(seconds, cpu, more.peak_mb)


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
    return run([place.peers_python, DBOS_STEPS, folder / "steps.sqlite", "bench", str(BESIDE_PEERS)], cwd=place.work)


def _run_chaos(place: Place) -> Cost:
    (place.work / "chaostoolkit.log").unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the action is found there
    arguments = ["--no-version-check", "run", "--journal-path", "chaos.json", "experiment.json"]
    return run([place.peers / "chaos", *arguments], cwd=place.work, environment=environment)
