"""How long it takes until `dr` says anything.

Included: everything from the start of the process to its end, Python's own start too. `dr` is started as installed, by
its console script; the bare click program by the same interpreter, with a group of as many commands and nothing behind
them. `dr plan` reads dr.toml and a runbook of 20 steps, validates and binds it, and prints the plan.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.goals import Row, at_most
from benchmarks.inputs import ENVIRONMENT, write_environment, write_runbook
from benchmarks.measure import Place, interleave, run

CLICK_PROGRAM = Path(__file__).parent / "baselines" / "click_program.py"


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    runbook = write_runbook(place.work / "twenty.yaml", 20)
    costs = interleave(
        21,
        {
            "click": lambda: run([place.python, CLICK_PROGRAM, "--help"], cwd=place.work),
            "help": lambda: run([place.dr, "--help"], cwd=place.work),
            "plan": lambda: run([place.dr, "plan", runbook, "--env", ENVIRONMENT], cwd=place.work),
        },
    )
    click = costs["click"].seconds
    for name, words, bound in (("help", "dr --help", 1.3), ("plan", "dr plan of 20 steps", 3.0)):
        seconds = costs[name].seconds
        yield Row(f"{words} / bare click --help", seconds / click, "x", at_most(bound), {name: seconds, "click": click})
