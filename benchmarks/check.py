"""How long `dr check` takes for a runbook of 1,000 steps.

Beside it stands the usual way: PyYAML's C loader and a pydantic model, which checks the same fields and cannot say
where in the file a mistake is; `dr` can. Both as whole processes, from the same file, both find nothing wrong.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.goals import Row, at_most
from benchmarks.inputs import write_environment, write_runbook
from benchmarks.measure import Place, interleave, run

PYDANTIC_CHECK = Path(__file__).parent / "peers" / "pydantic_check.py"


def measure(place: Place) -> Iterator[Row]:
    write_environment(place.work)
    runbook = write_runbook(place.work / "thousand.yaml", 1_000, options=True)
    costs = interleave(
        15,
        {
            "dr": lambda: run([place.dr, "check", runbook], cwd=place.work),
            "pydantic": lambda: run([place.peers_python, PYDANTIC_CHECK, runbook], cwd=place.work),
        },
    )
    dr, pydantic = costs["dr"].seconds, costs["pydantic"].seconds
    medians = {"dr": dr, "pydantic": pydantic}
    yield Row("dr check of 1,000 steps / CSafeLoader + pydantic", dr / pydantic, "x", at_most(0.3), medians)
