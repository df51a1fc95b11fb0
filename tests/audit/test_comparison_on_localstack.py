"""The attacks of test_comparison, each of them, in a real bucket. The memory's would hide what S3 does differently."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from dr.audit.comparison import Comparison, compare
from dr.audit.copies import entries_key, fetch, local_copy
from localstack.instance import CREDENTIALS, LocalStack
from tests.audit.homes import Machine
from tests.audit.written import RUN
from tests.localstack_fixture import create_buckets
from tests.memory_store import Bucket
from tests.s3_world import S3Bucket, credentials

ENTRIES = range(30)


class Attacked:
    """A run of thirty entries as it lies in a bucket without Object Lock, and on the machine that wrote it."""

    def __init__(self, machine: Machine, bucket: S3Bucket) -> None:
        self._machine, self._bucket = machine, bucket
        self._store = bucket.store()
        self.written = {name: machine.home.bucket.first(name) for name in machine.home.bucket.keys(f"runs/{RUN}/")}
        for name, data in self.written.items():
            bucket.put(name, data)

    def found(self) -> Comparison:
        return compare(RUN, local_copy(self._machine.stored()), fetch(self._store, RUN))

    def told(self) -> str:
        """What is found, which must be called tampering."""
        seen = self.found()
        assert seen.tampered, seen
        return "\n".join(seen.tampered)

    def remove(self, name: str) -> None:
        self._bucket.remove(name)

    def replace(self, name: str, data: bytes) -> None:
        self._bucket.remove(name)
        self._bucket.put(name, data)

    def restore(self, *names: str) -> None:
        for name in names:
            self._bucket.put(name, self.written[name])

    def put_on_top(self, name: str) -> None:
        self._bucket.put(name, b"forged\n")

    def mark_deleted(self, name: str) -> None:
        self._bucket.mark_deleted(name)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("written"), Bucket())
    machine.whole_run()
    return machine


@pytest.fixture
def run(machine: Machine, localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacked]:
    with credentials(monkeypatch, **CREDENTIALS):
        run = Attacked(machine, S3Bucket(localstack, create_buckets(localstack, locked=False).home))
        assert run.found().tampered == run.found().missing == ()
        yield run


def key(number: int) -> str:
    return entries_key(RUN, number)


def test_each_entry_and_each_pair_of_entries_that_was_removed_is_named(run: Attacked) -> None:
    for first in ENTRIES:
        run.remove(key(first))
        assert run.told().startswith(f"entry {first}: {'missing' if first < 29 else 'cut off'}")
        for second in range(first + 1, 30):
            run.remove(key(second))
            span = f"entries {first}-{second}: " if second == first + 1 else f"entry {first}: missing"
            assert run.told().startswith(span)
            run.restore(key(second))
        run.restore(key(first))


def test_a_tail_that_was_cut_at_any_length_is_seen(run: Attacked) -> None:
    for length in reversed(ENTRIES):
        run.remove(key(length))
        cut = "entry 29" if length == 29 else f"entries {length}-29"
        assert f"{cut}: cut off; a checkpoint there knows 30 entries" in run.told()


def test_each_two_entries_that_were_swapped_are_seen(run: Attacked) -> None:
    for first, second in itertools.combinations(ENTRIES, 2):
        run.replace(key(first), run.written[key(second)])
        run.replace(key(second), run.written[key(first)])
        assert f"entry {first}: another one than here" in run.told()
        for number in (first, second):
            run.remove(key(number))
            run.restore(key(number))


def test_each_entry_that_was_changed_is_named(run: Attacked) -> None:
    for number in ENTRIES:
        run.replace(key(number), run.written[key(number)].replace(b'"actor":"', b'"actor":"not '))
        assert f"entry {number}: another one than here" in run.told()
        run.remove(key(number))
        run.restore(key(number))


@pytest.mark.parametrize(
    "attack, what",
    [
        (Attacked.put_on_top, "1 later version put on top of the first version"),
        (Attacked.mark_deleted, "1 delete marker put on top of the first version"),
    ],
)
def test_what_is_put_on_top_of_any_object_is_named(
    attack: Callable[[Attacked, str], None], what: str, run: Attacked
) -> None:
    for count, name in enumerate(run.written, 1):
        attack(run, name)
        seen = run.found().tampered
        assert len([line for line in seen if what in line]) == count, seen
