"""What an append costs whose entry goes to the local disk and to S3, beside a bare `put_object` of the same bytes.

usage: python -m benchmarks.s3.appends FOLDER

The contestants take turns, append by append, so that what slows the machine slows all of them. Bare is a boto3 client
as it comes, ready and warm. Two such clients in two processes, one to the home and one to the mirror, that put at once,
show what the machine can do at best: where they wait for each other, so does everybody.
"""

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import boto3

from benchmarks.s3 import ENTRY, ROOT, null_s3
from dr.audit.book import LocalBook
from dr.audit.journal import Draft
from dr.audit.place import Place
from dr.audit.replicas import Mirror, ReplicatedJournal
from dr.audit.s3 import S3Store
from dr.core.events import RunResumed
from localstack.instance import CREDENTIALS, running
from tests.localstack_fixture import Bucket, create_bucket

HOME, MIRROR = Bucket("home", "eu-central-1"), Bucket("mirror", "eu-west-1")
DRAFT = Draft("2023-05-15T10:00:00.000000Z", "ada", RunResumed(host="recovery-host.example", version="1.0.0"))
NEAR = 0.005
"""Seconds to the answer of a store that is not on this machine; S3 itself seldom takes less than 10 ms."""

Append = Callable[[], object]


@contextmanager
def contestants(folder: Path, home: str, mirror: str) -> Iterator[Mapping[str, Append]]:
    """Each ready and warm."""
    bare = boto3.client("s3", endpoint_url=home, region_name=HOME.region)
    numbers = itertools.count()

    def journal(name: str, mirrors: list[Mirror]) -> Append:
        local = LocalBook(folder).create(name, b"{}\n", "benchmark")
        store = S3Store(Place(bucket=HOME.name, prefix=name, region=HOME.region, endpoint=home))
        replicated = ReplicatedJournal(local, store, mirrors)
        return lambda: replicated.append([DRAFT])

    there = S3Store(Place(bucket=MIRROR.name, region=MIRROR.region, endpoint=mirror))
    with two_processes(home, mirror) as at_once:
        yield {
            "bare": lambda: bare.put_object(Bucket=HOME.name, Key=f"bare/{next(numbers):010d}", Body=ENTRY),
            "two at once": at_once,
            "dr": journal("home", []),
            "with a mirror": journal("both", [Mirror(there)]),
        }


@contextmanager
def two_processes(home: str, mirror: str) -> Iterator[Append]:
    """What has a bare client put to the home and another one to the mirror, and waits for both."""
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                Popen(
                    [sys.executable, "-m", "benchmarks.s3.bare", endpoint, bucket.region, bucket.name],
                    cwd=ROOT, stdin=PIPE, stdout=PIPE, bufsize=0,
                )
            )
            for endpoint, bucket in ((home, HOME), (mirror, MIRROR))
        ]  # fmt: skip

        def put() -> None:
            for process in both:
                assert process.stdin is not None
                process.stdin.write(b".")
            for process in both:
                assert process.stdout is not None
                process.stdout.read(1)

        yield put


def medians(appends: Mapping[str, Append], count: int) -> dict[str, float]:
    """Seconds per append, each contestant's median of `count`."""
    names = list(appends)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for append in appends.values():
        append()
    for number in range(count):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            begin = time.perf_counter()
            appends[name]()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(of) for name, of in seconds.items()}


def main(folder: Path) -> dict[str, dict[str, float]]:
    os.environ.update(CREDENTIALS)
    figures = {}
    for name, seconds in (("null", 0.0), ("near", NEAR)):
        with (
            null_s3(seconds) as home,
            null_s3(seconds) as mirror,
            contestants(folder / name, home, mirror) as appends,
        ):
            figures[name] = medians(appends, 500)
    with running() as one, running() as other:  # two, as two regions are
        create_bucket(one, HOME, locked=True)
        create_bucket(other, MIRROR, locked=True)
        with contestants(folder / "localstack", one.endpoint, other.endpoint) as appends:
            figures["localstack"] = medians(appends, 500)
    return figures


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
