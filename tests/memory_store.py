"""A `Store` in memory, for tests of what stands above it: scripted faults, attacks, and rules that no writer may break.

    with Bucket() as bucket:
        here, there = bucket.store(), bucket.store("s3://memory/seen-from-elsewhere")
        here.on("create", Fault.LOST_ANSWER, key="/entries/", nth=(3,))

Each store is one machine's way to the bucket, with faults of its own; `bucket.on` is for all of them. A fault strikes
by count, and what hangs does so until the test calls `release`, or until the caller's deadline. Leaving the block
lets go what hangs, and fails if a writer broke a rule at any time, also where a thread swallowed the AssertionError:

- a copy of a run grows only at its end: no gap, no overlap, no break in the chain;
- after an unknown fate, and after `Taken`, a writer looks before it writes anything else of that run (safety rule 8).
"""

import itertools
import re
import sys
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import md5
from types import TracebackType
from typing import Literal, Self

import msgspec

from dr.audit import chain
from dr.audit.store import FateUnknown, Stored, StoreRefused, StoreUnreachable, Taken

ALWAYS = range(1, sys.maxsize)
ARN = "arn:aws:sts::000000000000:assumed-role/operator/ada"
KEY = re.compile(r"(?!/)[A-Za-z0-9_./-]+(?<!/)")
ENTRIES = re.compile(r"(runs/[^/]+/entries/)(\d{10})\.jsonl")

Call = Literal["create", "read", "list", "folders", "caller"]


class Fault(Enum):
    """What happens to a call. A call other than `create` has no effect that could be kept from it or be lost."""

    REFUSED = auto()  # StoreRefused: no effect
    UNREACHABLE = auto()  # StoreUnreachable: no effect
    LOST = auto()  # FateUnknown: no effect
    LOST_ANSWER = auto()  # FateUnknown: it took effect
    HANG = auto()  # held; takes effect when let go, however late: FateUnknown if the caller's deadline is over by then
    HANG_AFTER = auto()  # takes effect, and the answer is held


@dataclass
class Rule:
    fault: Fault
    call: Call
    key: str
    nth: Container[int]
    matched: int = 0

    def strikes(self, call: Call, key: str) -> bool:
        """Count a call if it is meant, and say whether its turn has come."""
        if self.call != call or self.key not in key:
            return False
        self.matched += 1
        return self.matched in self.nth


@dataclass
class Script:
    """Faults to come."""

    rules: list[Rule] = field(default_factory=list)

    def on(self, call: Call, fault: Fault, *, key: str = "", nth: Container[int] = (1,)) -> None:
        """Do this to the n-th calls, counted from here, whose key or prefix has `key` in it. The first rule that
        strikes wins."""
        self.rules.append(Rule(fault, call, key, nth))

    def calm(self) -> None:
        """Forget all rules. What hangs stays so."""
        self.rules.clear()

    def striking(self, call: Call, key: str) -> list[Fault]:
        return [rule.fault for rule in self.rules if rule.strikes(call, key)]


@dataclass(frozen=True)
class Version:
    id: str
    data: bytes | None
    """None: a delete marker."""


class Bucket(Script):
    """What all stores of a test see. Versioned; `remove` and `replace` are what a lock on objects would refuse."""

    def __init__(self, *, encrypted: bool = False) -> None:
        super().__init__()
        self.encrypted = encrypted
        """As with SSE-KMS: what stands in the place of an object's MD5 is none."""
        self.versions: dict[str, list[Version]] = {}
        """By key, the oldest version first."""
        self.calls: list[tuple[Call, str]] = []
        """All calls with their key or prefix, in the order they came."""
        self.broken: list[str] = []
        """The rules that writers have broken."""
        self.changed = threading.Condition()  # guards everything here and tells of changes
        self._late: list[Callable[[], None]] = []
        """Effects of calls that nobody waits for any more."""
        self._releases = 0
        self._ended = False
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self.release()
        if error is None:
            assert self.broken == []

    def store(self, name: str = "s3://memory/journal") -> "MemoryStore":
        """One more machine's way to this bucket."""
        return MemoryStore(self, name)

    def release(self) -> None:
        """Let go what hangs: it takes effect now, even if nobody waits for the answer any more."""
        with self.changed:
            self._releases += 1
            self.changed.notify_all()
            for effect in self._late:
                with suppress(Taken, AssertionError):  # a broken rule is remembered
                    effect()
            self._late.clear()

    def hold(self, seconds: float | None, late: Callable[[], None] = lambda: None) -> bool:
        """Wait for `release`, or for that long; whether it came. If it did not, `late` is done when it comes."""
        with self.changed:
            before = self._releases
            released = self.changed.wait_for(lambda: self._ended or self._releases > before, seconds)
            if not released:
                self._late.append(late)
        return released

    # What an attacker, or another tool, does to a bucket. No rule is looked at.

    def put(self, key: str, data: bytes) -> None:
        """A plain put: a first version, or a later one on top."""
        self._add(key, data)

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        for key, data in contents.items():
            self.put(key, data)

    def mark_deleted(self, key: str) -> None:
        """A plain delete: a delete marker on top."""
        self._add(key, None)

    def remove(self, *keys: str) -> None:
        """All versions and markers of these keys gone, and all below one that ends in `/`."""
        for key in keys:
            for name in [name for name in self.versions if name == key or (key.endswith("/") and name.startswith(key))]:
                del self.versions[name]

    def replace(self, key: str, data: bytes) -> None:
        """Other bytes as the only version."""
        self.remove(key)
        self.put(key, data)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.versions if key.startswith(prefix))

    def first(self, key: str) -> bytes:
        """The bytes of the first version; none where only delete markers are left."""
        return next((version.data for version in self.versions[key] if version.data is not None), b"")

    def lines(self, run: str) -> list[bytes]:
        """The lines of a run, as its objects have them."""
        return self._lines(f"runs/{run}/entries/")

    def copy(self) -> "Bucket":
        """The same objects, to be attacked. No faults, no calls."""
        other = Bucket()
        other.versions = {key: list(versions) for key, versions in self.versions.items()}
        other._ids = itertools.count(1 + sum(map(len, self.versions.values())))
        return other

    # What a store does.

    def create(self, key: str, data: bytes) -> None:
        """A put with `If-None-Match: *`. Raises Taken.

        Behind a delete marker it succeeds, as in S3. The same bytes under a first version are the caller's own.
        """
        with self.changed:
            versions = self.versions.get(key)
            if versions and versions[-1].data is not None:
                if self.first(key) != data:
                    raise Taken(f"s3://memory: {key} is taken")
                return
            if not versions and (placed := ENTRIES.fullmatch(key)):
                self._judge(placed[1], int(placed[2]), data)
            self._add(key, data)

    def listed(self, prefix: str) -> list[Stored]:
        with self.changed:
            listed = [_stored(key, self.versions[key]) for key in self.keys(prefix)]
        if self.encrypted:
            listed = [msgspec.structs.replace(stored, md5="0" * 32) for stored in listed]
        return listed

    def _add(self, key: str, data: bytes | None) -> None:
        self.versions.setdefault(key, []).append(Version(f"v{next(self._ids)}", data))

    def _lines(self, prefix: str) -> list[bytes]:
        return [line for key in self.keys(prefix) for line in self.first(key).split(b"\n") if line]

    def _judge(self, prefix: str, seq: int, data: bytes) -> None:
        """An object of entries follows what is there, and is made of whole lines."""
        before = self._lines(prefix)
        try:
            assert len(before) == seq, f"{prefix}: {len(before)} lines are there, the next object is number {seq}"
            assert data.endswith(b"\n"), f"{prefix}{seq}: its last line has no end"
            chain.check([*before, *data.split(b"\n")[:-1]])
        except (AssertionError, chain.Broken) as wrong:
            self.fail(str(wrong))

    def fail(self, rule: str) -> None:
        self.broken.append(rule)
        raise AssertionError(rule)


class MemoryStore(Script):
    """The `Store` of one machine."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        super().__init__()
        self.bucket = bucket
        self.name = name
        self._unsettled: dict[str, tuple[str, bytes]] = {}
        """By the prefix of a run's entries: the create that this writer knows the fate of only by looking."""

    def create(self, key: str, data: bytes, *, within: float) -> None:
        self._check_key(key)
        self._check_settled(key, data)
        try:
            self._struck("create", key, within, lambda: self.bucket.create(key, data))
        except (FateUnknown, Taken):
            if placed := ENTRIES.fullmatch(key):
                self._unsettled[placed[1]] = (key, data)
            raise

    def read(self, stored: Stored) -> bytes:
        self._check_key(stored.key)
        self._struck("read", stored.key)
        for version in self.bucket.versions.get(stored.key, ()):
            if version.id == stored.version and version.data is not None:
                return version.data
        raise StoreRefused(f"{self.name}: {stored.key} has no version {stored.version!r}")

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        self._struck("list", prefix)
        listed = [stored for stored in self.bucket.listed(prefix) if stored.key > after]
        for run, (key, _) in list(self._unsettled.items()):
            if key.startswith(prefix) and key > after:
                del self._unsettled[run]
        yield from listed

    def folders(self, prefix: str) -> Iterator[str]:
        assert prefix.endswith("/")
        self._struck("folders", prefix)
        names = [key.removeprefix(prefix) for key in self.bucket.keys(prefix)]
        yield from sorted({name.split("/")[0] for name in names if "/" in name})

    def caller(self, *, within: float) -> str:
        try:
            self._struck("caller", "", within)
        except (StoreRefused, StoreUnreachable):
            return ""
        return ARN

    def _struck(
        self, call: Call, key: str, within: float | None = None, effect: Callable[[], None] = lambda: None
    ) -> None:
        """Do what a call does, and what the script says happens to it."""
        with self.bucket.changed:
            self.bucket.calls.append((call, key))
            faults = self.striking(call, key) + self.bucket.striking(call, key)
        lost = FateUnknown if call == "create" else StoreUnreachable
        match faults[0] if faults else None:
            case Fault.REFUSED:
                raise StoreRefused(f"{self.name}: refused by the test")
            case Fault.UNREACHABLE:
                raise StoreUnreachable(f"{self.name}: unreachable by the test")
            case Fault.LOST:
                raise lost(f"{self.name}: lost by the test")
            case Fault.LOST_ANSWER:
                effect()
                raise lost(f"{self.name}: answer lost by the test")
            case Fault.HANG:
                if not self.bucket.hold(within, effect):
                    raise lost(f"{self.name}: no answer within {within:g} s")
                effect()
            case Fault.HANG_AFTER:
                effect()
                if not self.bucket.hold(within):
                    raise lost(f"{self.name}: no answer within {within:g} s")
            case None:
                effect()

    def _check_key(self, key: str) -> None:
        if not KEY.fullmatch(key) or ".." in key or "//" in key:
            self.bucket.fail(f"{key!r} is no key")

    def _check_settled(self, key: str, data: bytes) -> None:
        """What was stored twice in the same words is stored once; anything else waits for a look."""
        placed = ENTRIES.fullmatch(key)
        if placed and self._unsettled.get(placed[1], (key, data)) != (key, data):
            self.bucket.fail(f"{key} was written by {self.name}, which does not know what is before it")


def _stored(key: str, versions: list[Version]) -> Stored:
    real = [version for version in versions if version.data is not None]
    deleted = len(versions) - len(real)
    if not real:
        return Stored(key=key, version="", deleted=deleted)
    first = real[0].data or b""
    return Stored(
        key=key,
        version=real[0].id,
        size=len(first),
        md5=md5(first, usedforsecurity=False).hexdigest(),
        later=len(real) - 1,
        deleted=deleted,
    )
