"""A journal's home in an attacker's hands, in memory or in a real bucket without a lock on objects."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from dr.audit.agreement import Rulings
from dr.audit.book import LocalBook
from dr.audit.comparison import Comparison, compare
from dr.audit.copies import fetch, local_copy
from dr.audit.home import HomeBook
from dr.audit.store import Store, Stored
from tests.audit.homes import Machine
from tests.audit.written import RUN
from tests.memory_store import Bucket
from tests.s3_world import S3Bucket


class Untouched(msgspec.Struct, frozen=True):
    """An object that nobody attacked, and its bytes."""

    stored: Stored
    data: bytes


@dataclass
class Instead:
    """A `Store` as its reader finds it when an insider wrote some of the objects: what lies elsewhere stands for them.

    So each of thousands of forged objects, listed and read as the store really has it, costs one put and one read, and
    not a copy of all the others.
    """

    name: str
    store: Store
    untouched: Mapping[str, Untouched]
    forged: Mapping[str, Stored]
    """By key, what stands for it."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        for key, found in self.untouched.items():
            if key.startswith(prefix) and key > after:
                yield msgspec.structs.replace(self.forged.get(key, found.stored), key=key)

    def read(self, stored: Stored) -> bytes:
        forged = self.forged.get(stored.key)
        return self.untouched[stored.key].data if forged is None else self.store.read(forged)

    def create(self, key: str, data: bytes, *, within: float) -> None:
        raise AssertionError("who verifies writes nothing")

    def folders(self, prefix: str) -> Iterator[str]:
        names = {key.removeprefix(prefix).split("/")[0] for key in self.untouched if key.startswith(prefix)}
        return iter(sorted(names))

    def caller(self, *, within: float) -> str:
        raise AssertionError("nobody asks who is reading")


class Attacked:
    """A copy of what a machine wrote to its home, and the machine's own copy of a run to hold against it."""

    def __init__(self, bucket: Bucket | S3Bucket, machine: Machine, run: str = RUN) -> None:
        """
        Args:
            bucket: empty; it gets all that the machine wrote to its home, which stays as it is.
            machine: the one that has written.
            run: of which run to find something.
        """
        self.bucket = bucket
        self.store: Store = bucket.store()
        self.run = run
        self.here = local_copy(machine.stored(run))
        self.written = {key: machine.home.bucket.first(key) for key in machine.home.bucket.keys("")}
        bucket.put_all(self.written)
        self._touched: set[str] = set()

    @cached_property
    def _untouched(self) -> Mapping[str, Untouched]:
        ours = [item for item in self.store.list("") if item.key in self.written]
        return {item.key: Untouched(item, self.store.read(item)) for item in ours}

    # What an attacker does.

    @contextmanager
    def attack(self) -> Iterator[None]:
        """What is touched within is afterwards as it was written."""
        before, self._touched = self._touched, set()
        try:
            yield
        finally:
            self.bucket.remove(*self._touched)
            self.bucket.put_all({key: self.written[key] for key in self._touched.intersection(self.written)})
            self._touched = before

    def put(self, key: str, data: bytes) -> None:
        """A plain put: a first version, or a later one on top."""
        self._touched.add(key)
        self.bucket.put(key, data)

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """Many of them."""
        self._touched.update(contents)
        self.bucket.put_all(contents)

    def mark_deleted(self, key: str) -> None:
        """A plain delete: a delete marker on top."""
        self._touched.add(key)
        self.bucket.mark_deleted(key)

    def remove(self, *keys: str) -> None:
        """All versions of these keys gone."""
        self._touched.update(keys)
        self.bucket.remove(*keys)

    def replace(self, contents: Mapping[str, bytes]) -> None:
        """Other bytes as the only versions of these keys."""
        self.remove(*contents)
        self.bucket.put_all(contents)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.written if key.startswith(prefix))

    def instead(self, forged: Mapping[str, Stored]) -> Instead:
        """The store with other objects standing for some of its own."""
        return Instead(self.store.name, self.store, self._untouched, forged)

    def swapped(self, one: str, other: str) -> Instead:
        """The store with two of its objects standing for each other."""
        return self.instead({one: self._untouched[other].stored, other: self._untouched[one].stored})

    # What a reader finds.

    def found(self, store: Store | None = None) -> Comparison:
        """What a run's copy proves to whoever has a good one; `store`: read from there."""
        return compare(self.run, self.here, fetch(store or self.store, self.run, self.here.lines))

    def told(self, store: Store | None = None) -> str:
        """The same, which must be called tampering."""
        seen = self.found(store)
        assert seen.tampered, seen
        return "\n".join(seen.tampered)

    def of_ledger(self, store: Store | None = None) -> Comparison:
        """What is found when the ledger is held against the runs that are there."""
        book = HomeBook(LocalBook(Path("/nowhere")), store or self.store, (), Rulings(), print)
        compared = book.compare_ledger()
        assert compared is not None
        return compared
