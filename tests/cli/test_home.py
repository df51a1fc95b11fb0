"""The real `dr` with its journal on a real LocalStack: killed, gone on with from nothing but the bucket, attacked."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from localstack.instance import LocalStack
from tests.cli.shell import (
    FAILING,
    FLAGS,
    GOOD,
    PATIENCE,
    RUN,
    SHOP,
    Outcome,
    command,
    dr,
    environment,
    flags_off,
    locked,
    types,
    until,
    write,
)
from tests.localstack_fixture import Buckets
from tests.proxy import ALWAYS, Fault, Proxy


class Shop:
    """A folder with a `dr.toml` whose journal is in two buckets, and what the process needs to reach them."""

    def __init__(self, folder: Path, localstack: LocalStack, buckets: Buckets) -> None:
        self.folder = folder
        self.home = f"s3://{buckets.home.name}/journals"
        self.bucket = buckets.home.name
        self.s3 = localstack.client("s3", buckets.home.region)
        self.variables = {**localstack.environment, "AWS_EC2_METADATA_DISABLED": "true"}
        journal = f'[journal]\nhome = "{self.home}"\nregion = "{buckets.home.region}"\n'
        mirror = f'[[journal.mirrors]]\nurl = "s3://{buckets.mirror.name}"\nregion = "{buckets.mirror.region}"\n'
        write(folder, {"dr.toml": journal + mirror + SHOP, "good.yaml": GOOD, "flags.json": FLAGS})

    def dr(self, *arguments: str, **changes: str) -> Outcome:
        return dr(self.folder, *arguments, **{**self.variables, **changes})

    def elsewhere(self, *arguments: str) -> Outcome:
        """In a folder that has nothing, with nothing but the address of the bucket."""
        other = self.folder / "elsewhere"
        other.mkdir(exist_ok=True)
        return dr(other, *arguments, **{**self.variables, "HOME": str(other), "DR_HOME": self.home})

    def started(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """A process in the background; outside the shop's folder it knows nothing but the address of the bucket."""
        home = {} if folder == self.folder else {"DR_HOME": self.home}
        return subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(folder, **self.variables, **home),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def keys(self, part: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        return [item["Key"] for item in listed if part in item["Key"]]

    def entry(self, number: int) -> str:
        return self.keys("/entries/")[number]


@pytest.fixture
def shop(tmp_path: Path, localstack: LocalStack, buckets: Buckets) -> Shop:
    """Under Object Lock."""
    return Shop(tmp_path, localstack, buckets)


@pytest.fixture
def open_shop(tmp_path: Path, localstack: LocalStack, unlocked_buckets: Buckets) -> Shop:
    """Where whoever may delete can remove versions."""
    return Shop(tmp_path, localstack, unlocked_buckets)


def kill(shop: Shop) -> None:
    """A run whose process is killed in the middle of its step; somebody holds the flags."""
    process = shop.started(shop.folder, *RUN)
    until(lambda: len(shop.keys("/entries/")) == 2)
    process.kill()
    process.wait(PATIENCE)


def test_a_killed_run_is_gone_on_with_from_nothing_but_the_bucket_and_verifies_in_every_copy(shop: Shop) -> None:
    with locked(shop.folder / "flags.json"):
        kill(shop)
    assert "interrupted" in shop.elsewhere("runs").out
    resumed = shop.elsewhere("resume", "latest")
    assert resumed.status == 0, resumed.err
    assert flags_off(shop.folder) == {"search"}
    assert "mirror: entries" in shop.dr("audit", "verify", "latest").err  # elsewhere nobody knew of it
    assert shop.dr("audit", "sync", "latest").status == 0
    verified = shop.dr("audit", "verify", "latest")
    assert verified.status == 0, verified.err
    assert verified.out.count(": the same") == 2
    assert shop.dr("audit", "verify", "--all").status == 0
    assert types(shop.folder)[-1] == "run-ended"


def test_of_two_resumes_at_once_from_two_directories_exactly_one_goes_on(shop: Shop) -> None:
    """Safety rule 7."""
    folders = [shop.folder / name for name in ("one", "two")]
    with locked(shop.folder / "flags.json"):
        kill(shop)
        for folder in folders:
            folder.mkdir()
        both = [shop.started(folder, "resume", "latest") for folder in folders]
        until(lambda: any(process.poll() is not None for process in both))
    assert sorted(process.wait(PATIENCE) for process in both) == [0, 11]
    assert sum("run-resumed" in _text(shop, key) for key in shop.keys("/entries/")) == 1
    assert flags_off(shop.folder) == {"search"}


def _text(shop: Shop, key: str) -> str:
    text: bytes = shop.s3.get_object(Bucket=shop.bucket, Key=key)["Body"].read()
    return text.decode()


def test_nothing_is_touched_while_the_home_is_away(shop: Shop, localstack: LocalStack) -> None:
    """Safety rule 1: refused from the second entry on, which is the intent."""
    with Proxy(localstack.endpoint) as proxy:
        proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT", path="0000000001.jsonl", nth=ALWAYS)
        process = shop.dr(*RUN, AWS_ENDPOINT_URL=proxy.endpoint)
    assert process.status == 19, process.err
    assert "cannot be reached" in process.err
    assert not flags_off(shop.folder)
    assert shop.dr("resume", "latest").status == 0
    assert flags_off(shop.folder) == {"search"}
    assert shop.dr("audit", "verify", "latest").status == 0


def test_an_environment_belongs_to_a_run_until_it_has_ended_wherever_it_is(shop: Shop) -> None:
    write(shop.folder, {"good.yaml": FAILING})
    assert shop.dr(*RUN).status == 5
    write(shop.folder / "elsewhere", {"dr.toml": SHOP, "good.yaml": GOOD, "flags.json": FLAGS})
    refused = shop.elsewhere(*RUN)
    assert refused.status == 20, refused.err
    assert "next:   dr show" in refused.err
    assert shop.elsewhere("answer", "latest", "abort").status == 7
    assert shop.elsewhere(*RUN).status == 0


def test_a_run_without_its_home_is_delivered_by_sync(shop: Shop) -> None:
    named = ("--home", shop.home)
    done = shop.dr(*RUN, *named, "--without-home", "the link is down", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert done.status == 0, done.err
    assert f"later: dr audit sync --home {shop.home}" in done.err
    assert "home-left" in types(shop.folder)
    assert shop.keys("") == []
    late = shop.dr("audit", "verify", "latest")
    assert late.status == 21
    assert "the plan is not there" in late.err
    synced = shop.dr("audit", "sync", "--all")
    assert synced.status == 0, synced.err
    assert synced.out.count("has all") == 2
    assert shop.dr("audit", "verify", "--all").status == 0


def test_a_directory_that_is_named_is_read_alone(shop: Shop) -> None:
    """It may be a copy from elsewhere, of another journal than the one that dr.toml names."""
    done = shop.dr(*RUN)
    assert done.status == 0
    assert f"Recorded in {shop.home}, too, with a mirror in s3://" in done.out
    verified = shop.dr("audit", "verify", "latest", "--journal", "journal", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert verified.status == 0, verified.err
    assert "the same" not in verified.out
    both = shop.dr("audit", "verify", "latest", "--journal", "journal", "--home", shop.home)
    assert both.out.count(": the same") == 2
    assert shop.dr("runs", "--home", "http://journals").status == 2


# Attacks


@pytest.fixture
def done(open_shop: Shop) -> Shop:
    assert open_shop.dr(*RUN).status == 0
    return open_shop


def verify(shop: Shop, *more: str) -> str:
    """What verify complains about; holds that it calls it tampering."""
    seen = shop.dr("audit", "verify", *(more or ["latest"]))
    assert seen.status == 10, seen.out
    return seen.out + seen.err


def test_a_new_version_on_top_is_named_and_the_first_is_read(done: Shop) -> None:
    done.s3.put_object(Bucket=done.bucket, Key=done.entry(1), Body=b"forged\n")
    assert "entry 1: 1 later version put on top of the first version" in verify(done)
    assert done.elsewhere("show", "latest").status == 0


def test_a_delete_marker_is_named_and_the_first_version_is_read(done: Shop) -> None:
    done.s3.delete_object(Bucket=done.bucket, Key=done.entry(1))
    assert "entry 1: 1 delete marker put on top" in verify(done)
    assert done.elsewhere("show", "latest").status == 0


def test_an_entry_that_was_removed_for_good_is_named(done: Shop) -> None:
    _remove(done, done.entry(1))
    assert "entry 1: missing, although entry 2 is there" in verify(done)


def test_an_entry_that_was_replaced_is_named(done: Shop) -> None:
    key = done.entry(1)
    changed = _text(done, key).replace("oncall", "nobody").encode()
    _remove(done, key)
    done.s3.put_object(Bucket=done.bucket, Key=key, Body=changed)
    assert "entry 1: another one than here" in verify(done)


def test_a_run_that_was_removed_is_named(done: Shop) -> None:
    run = done.entry(0).split("/")[2]
    for key in done.keys(f"runs/{run}/"):
        _remove(done, key)
    assert f"the run {run} is missing: the ledger knows that it was started" in verify(done, "--all")


def _remove(shop: Shop, key: str) -> None:
    """All versions of an object, as somebody can who may delete them where no Object Lock holds."""
    listed: dict[str, Any] = shop.s3.list_object_versions(Bucket=shop.bucket, Prefix=key)
    for version in listed["Versions"]:
        shop.s3.delete_object(Bucket=shop.bucket, Key=key, VersionId=version["VersionId"])
