"""How soon a run of 10,000 entries on S3 is verified, beside reading its objects one after the other.

usage: python -m benchmarks.s3.reads DR FOLDER

The objects lie in LocalStack as a run leaves them that wrote each entry by itself, and has ended. `dr` is timed as a
whole process: where the run was made, and where there is nothing but the address of the bucket. A ready client of
boto3 reads the same objects one after the other and does nothing with them.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from msgspec.structs import replace

from benchmarks.inputs import write_environment, write_runbook
from benchmarks.measure import fresh, run
from benchmarks.runs import journal_of, run_arguments
from benchmarks.s3 import null_s3
from benchmarks.s3.appends import HOME, NEAR
from dr.audit import chain
from dr.audit.copies import entries_key, plan_key, whole_key
from dr.audit.place import Place
from dr.audit.s3 import S3Store
from dr.audit.store import Store, Stored
from dr.core.events import RunResumed, decode_entry, encode_entry
from localstack.instance import CREDENTIALS, LocalStack, running
from tests.localstack_fixture import create_bucket

ENTRIES = 10_000
AT_ONCE = 8
FAR_READS = 500
"""Enough of them: each takes the time to the store."""
SOON = 60.0


def make_run(dr: Path, folder: Path) -> Path:
    """The folder of a run of ten steps whose journal was made 10,000 entries long by resumptions after its start."""
    write_environment(folder)
    run([dr, *run_arguments(write_runbook(folder / "ten.yaml", 10), folder / "journal")], cwd=folder)
    journal = journal_of(folder / "journal")
    journal.write_bytes(b"".join(line + b"\n" for line in long(journal.read_bytes().split(b"\n")[:-1])))
    (journal.parent / "checkpoints.jsonl").unlink()
    return journal.parent


def long(lines: Sequence[bytes]) -> Iterator[bytes]:
    first, *others = map(decode_entry, lines)
    resumed = replace(first, event=RunResumed(host="recovery-host.example", version="1.0.0"))
    head = chain.EMPTY
    for entry in [first, *[resumed] * (ENTRIES - len(lines)), *others]:
        line = encode_entry(replace(entry, prev=head.hash, seq=head.size))
        yield line
        head = chain.link(head, line)


def upload(store: Store, stored: Path) -> None:
    """As a run leaves it that has ended: an object for each entry, and one for all."""
    name, whole = stored.name, (stored / "journal.jsonl").read_bytes()
    objects = [(entries_key(name, seq), line + b"\n") for seq, line in enumerate(whole.split(b"\n")[:-1])]
    objects += [(plan_key(name), (stored / "plan.json").read_bytes()), (whole_key(name), whole)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda item: store.create(*item, within=SOON), objects))


def one_after_the_other(client: Any, keys: Sequence[str]) -> float:
    """Seconds for reading them all."""
    begin = time.perf_counter()
    for key in keys:
        client.get_object(Bucket=HOME.name, Key=key)["Body"].read()
    return time.perf_counter() - begin


def side_by_side(store: Store, objects: Sequence[Stored]) -> float:
    """The same, as an unfinished run is fetched by another machine."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(store.read, objects))
    return time.perf_counter() - begin


def on_localstack(dr: Path, folder: Path, localstack: LocalStack) -> dict[str, float]:
    create_bucket(localstack, HOME, locked=True)
    stored = make_run(dr, folder)
    store = S3Store(Place(bucket=HOME.name, region=HOME.region, endpoint=localstack.endpoint))
    upload(store, stored)
    client = boto3.client("s3", endpoint_url=localstack.endpoint, region_name=HOME.region)
    keys = [item.key for item in store.list(f"runs/{stored.name}/entries/")]
    command: list[str | Path] = [dr, "audit", "verify", stored.name, "--home", f"s3://{HOME.name}"]
    environment = {**os.environ, **localstack.environment, "AWS_EC2_METADATA_DISABLED": "true"}

    def verify(folder: Path) -> float:
        seconds = run(command, cwd=folder, environment=environment).seconds
        assert f"s3://{HOME.name}" in (folder / "output.txt").read_text(), "the home was not looked at"
        return seconds

    return {
        "one after the other": one_after_the_other(client, keys),
        "verify": verify(folder),
        "fetch and verify": verify(fresh(folder / "away")),
    }


def nearby(seconds: float) -> dict[str, float]:
    """Reads from a store that takes this long to answer."""
    with null_s3(seconds) as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint, region_name=HOME.region)
        store = S3Store(Place(bucket=HOME.name, region=HOME.region, endpoint=endpoint))
        objects = [Stored(key=str(number), version="1") for number in range(FAR_READS)]
        return {
            "one after the other": one_after_the_other(client, [item.key for item in objects]) / FAR_READS,
            "side by side": side_by_side(store, objects) / FAR_READS,
        }


def main(dr: Path, folder: Path) -> dict[str, dict[str, float]]:
    os.environ.update(CREDENTIALS)
    with running() as localstack:
        return {"localstack": on_localstack(dr, folder, localstack), "near": nearby(2 * NEAR)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
