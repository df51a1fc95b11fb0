"""The journal on S3: what an append costs, how soon a long run is verified, what the first put of a process costs.

Against LocalStack, and against a server that does nothing but answer, some milliseconds later as the real S3 does.
The two show different things: LocalStack takes longer to answer than a client to ask, and on two processors two of
them, a home and a mirror, and the client may wait for each other; the goal is the same for both. How much of that is
the machine's is seen in two bare processes that put at once, one to each.
Ratios to a bare client of boto3, ready and warm, that does the same without anything that makes it a journal.
The programs are in `s3/`.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.goals import Row, at_least, at_most
from benchmarks.measure import Place, fresh, interleave, run
from benchmarks.s3 import null_s3

ROOT = Path(__file__).parent.parent
FIRST_PUT = Path(__file__).parent / "s3" / "first_put.py"
AMONG = {"null": "no time away", "near": "5 ms away", "localstack": "LocalStack"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}


def measure(place: Place) -> Iterator[Row]:
    yield from _appends(place)
    yield from _reads(place)
    yield from _first_put(place)


def _appends(place: Place) -> Iterator[Row]:
    for store, medians in _figures(place, "benchmarks.s3.appends", fresh(place.work / "appends")).items():
        bare = medians["bare"]
        alone, mirrored = (None, None) if store == "null" else (at_most(1.25), at_most(1.4))
        yield Row(f"append / bare put_object ({AMONG[store]})", medians["dr"] / bare, "x", alone, medians)
        yield Row(f"the same with a mirror ({AMONG[store]})", medians["with a mirror"] / bare, "x", mirrored, medians)
        ratio = medians["with a mirror"] / medians["two at once"]
        yield Row(f"with a mirror / two bare processes at once ({AMONG[store]})", ratio, "x", alone, medians)


def _reads(place: Place) -> Iterator[Row]:
    figures = _figures(place, "benchmarks.s3.reads", place.dr, fresh(place.work / "reads"))
    medians = figures["localstack"]
    slow = medians["one after the other"]
    yield Row("10,000 get_object / audit verify (LocalStack)", slow / medians["verify"], "x", at_least(5), medians)
    yield Row(
        "the same / fetched and verified elsewhere", slow / medians["fetch and verify"], "x", at_least(5), medians
    )
    medians = figures["near"]
    ratio = medians["one after the other"] / medians["side by side"]
    yield Row("a get_object / one of an unfinished run (10 ms away)", ratio, "x", at_least(5), medians)


def _first_put(place: Place) -> Iterator[Row]:
    environment = {**os.environ, **CREDENTIALS}
    with null_s3(0.0) as endpoint:

        def command(contestant: str) -> list[str | Path]:
            return [place.python, FIRST_PUT, contestant, endpoint]

        costs = interleave(
            9,
            {
                "boto3": lambda: run(command("boto3"), cwd=place.work, environment=environment),
                "dr": lambda: run(command("dr"), cwd=place.work, environment=environment),
            },
        )
        later = [float(subprocess.check_output(command("dr-later"), cwd=place.work, env=environment)) for _ in range(5)]
    medians = {name: cost.seconds for name, cost in costs.items()}
    yield Row("a process that puts one object / boto3's", medians["dr"] / medians["boto3"], "x", at_most(1.0), medians)
    yield Row("the first put a second later, made ready meanwhile", statistics.median(later) * 1e3, "ms", at_most(20))


def _figures(place: Place, program: str, *arguments: Path) -> dict[str, dict[str, float]]:
    """What a program prints that measures by itself: this process stays small, and without botocore."""
    command: list[str | Path] = [place.python, "-m", program, *arguments]
    figures: dict[str, dict[str, float]] = json.loads(
        subprocess.check_output(command, cwd=ROOT, env={**os.environ, **CREDENTIALS})
    )
    return figures
