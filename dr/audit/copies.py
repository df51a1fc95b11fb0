"""The copies of a run: as it lies in a store, how it is brought there, and where copies differ.

In a store a run is

    runs/<run>/plan.json                      created once
               entries/<seq>.jsonl            the lines of one append, under the number of the first of them
               checkpoints/<size>-<hash>.json a checkpoint each; a run may have several of one size
               journal.jsonl                  all lines, once the run has ended: it spares reading each object

The same objects lie in the home and in each mirror; the last one only where there was time for it. It is no evidence:
of it too only the first version is read, and only in place of objects of which the store gives that size and MD5.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import md5, sha256
from pathlib import Path

import msgspec

from dr.audit import chain
from dr.audit.disk import create, make_folder, sync_directory, take_away
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN
from dr.audit.store import FateUnknown, Store, Stored, StoreRefused, StoreUnreachable, Taken
from dr.audit.stored import StoredRun

HERE = "the local copy"
SIDE_BY_SIDE = 32
"""Objects that are read at the same time."""
LINES_AT_ONCE = 500
"""Lines in an object when a copy catches up."""

NOT_STORED = (FateUnknown, StoreUnreachable, StoreRefused)


def run_prefix(run: str) -> str:
    return f"runs/{run}/"


def plan_key(run: str) -> str:
    return f"runs/{run}/plan.json"


def entries_prefix(run: str) -> str:
    return f"runs/{run}/entries/"


def entries_key(run: str, seq: int) -> str:
    """Ten digits, so that keys sort as numbers do."""
    return f"runs/{run}/entries/{seq:010d}.jsonl"


def whole_key(run: str) -> str:
    return f"runs/{run}/journal.jsonl"


def checkpoint_key(run: str, line: bytes) -> str:
    """By its content: nobody else's checkpoint of the same size can be in its place."""
    size = chain.decode_checkpoint(line).size
    return f"runs/{run}/checkpoints/{size:010d}-{sha256(line).hexdigest()[:16]}.json"


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands in one place, before anybody has judged it. Of objects in a store it is the first versions."""

    where: str
    plan: bytes = b""
    """Empty when it is not there."""
    lines: tuple[bytes, ...] = ()
    """The raw lines from the first on, up to the first that is missing."""
    marks: tuple[bytes, ...] = ()
    """The raw lines of the checkpoints, by size."""
    behind_gap: int | None = None
    """Number of the first entry that is there although one before it is missing."""
    objects: tuple[Stored, ...] = ()
    strangers: tuple[str, ...] = ()
    """Objects that are no part of the run: nobody reads them."""


def local_copy(stored: StoredRun) -> Copy:
    """The run as it lies here. An unfinished last line is left out.

    Raises:
        JournalBroken: it cannot be read.
    """
    return Copy(
        where=HERE,
        plan=stored.plan(),
        lines=tuple(stored.raw()),
        marks=tuple(sorted(stored.checkpoint_lines(), key=_age)),
    )


def fetch(store: Store, run: str, known: Sequence[bytes] = ()) -> Copy:
    """The run as the store has it.

    Every object is listed with its versions; read is what is not known to be equal to `known`, or to the object that
    holds all lines.

    Args:
        store: where it lies.
        run: its name.
        known: lines that are here already.

    Raises:
        StoreUnreachable, StoreRefused
    """
    from concurrent.futures import ThreadPoolExecutor  # only for a store: whoever has no home does not pay for it

    objects = tuple(store.list(run_prefix(run)))
    there = [item for item in objects if item.version]  # the others are delete markers on nothing
    contents = _known(run, there, known)
    for item in there:
        if item.key == whole_key(run) and item.key not in contents:
            contents[item.key] = store.read(item)
            contents |= _known(run, there, chain.complete(contents[item.key]))
    unknown = [item for item in there if item.key not in contents]
    with ThreadPoolExecutor(SIDE_BY_SIDE, "fetch") as pool:
        contents |= zip((item.key for item in unknown), pool.map(store.read, unknown), strict=True)
    return _assemble(store.name, run, objects, contents)


def _known(run: str, there: Sequence[Stored], lines: Sequence[bytes]) -> dict[str, bytes]:
    """The objects whose bytes are some of these lines, as size and MD5 say."""
    entries = [item for item in there if item.key.startswith(entries_prefix(run))]
    firsts = [number_of(item.key) for item in entries]
    spans = list(zip(entries, firsts, [*firsts[1:], len(lines)], strict=False))
    spans += [(item, 0, len(lines)) for item in there if item.key == whole_key(run)]
    found = {}
    for item, first, end in spans:
        data = chain.joined(lines[first:end])
        if (item.size, item.md5) == (len(data), md5(data, usedforsecurity=False).hexdigest()):
            found[item.key] = data
    return found


def _assemble(where: str, run: str, objects: tuple[Stored, ...], contents: Mapping[str, bytes]) -> Copy:
    lines: list[bytes] = []
    marks: list[bytes] = []
    strangers: list[str] = []
    behind_gap = None
    for key in sorted(contents):
        kind = key.removeprefix(run_prefix(run)).partition("/")[0]
        if kind == "entries" and key == entries_key(run, max(number_of(key), len(lines))):
            if number_of(key) > len(lines):
                behind_gap = number_of(key)
                break
            lines += chain.complete(contents[key])
        elif kind == "checkpoints":
            marks.append(contents[key])
        elif key != plan_key(run) and not (key == whole_key(run) and _same_start(contents[key], lines)):
            strangers.append(key)
    return Copy(
        where=where,
        plan=contents.get(plan_key(run), b""),
        lines=tuple(lines),
        marks=tuple(sorted(marks, key=_age)),
        behind_gap=behind_gap,
        objects=objects,
        strangers=tuple(strangers),
    )


def _same_start(whole: bytes, lines: Sequence[bytes]) -> bool:
    """Whether one is the beginning of the other: which of them is cut off, if one is, the checkpoints tell."""
    joined = chain.joined(lines)
    return whole.startswith(joined) or joined.startswith(whole)


def store_whole(store: Store, run: str, lines: Sequence[bytes], *, within: float) -> None:
    """Store all lines of a run that has ended in one object, if it can be done; nothing depends on it."""
    with suppress(*NOT_STORED, Taken):
        store.create(whole_key(run), chain.joined(lines), within=within)


def deliver(store: Store, run: str, whole: Copy, there: Copy, *, within: float) -> None:
    """Bring the copy in a store up to date with another one that it is the beginning of.

    Each object is created or is already the same; so this is harmless when repeated, and when two do it at once.

    Args:
        store: where it lies.
        run: its name.
        whole: what it becomes.
        there: what it is now.
        within: seconds that each object may take.

    Raises:
        Taken: the copy holds something else under one of the keys.
        FateUnknown, StoreUnreachable, StoreRefused
    """
    if not there.plan:
        store.create(plan_key(run), whole.plan, within=within)
    for seq in range(len(there.lines), len(whole.lines), LINES_AT_ONCE):
        data = chain.joined(whole.lines[seq : seq + LINES_AT_ONCE])
        store.create(entries_key(run, seq), data, within=within)
    for mark in whole.marks:
        if mark not in there.marks:
            store.create(checkpoint_key(run, mark), mark, within=within)


def write_copy(place: Path, copy: Copy) -> None:
    """Write a copy into a local directory, as `StoredRun` reads it: made elsewhere, and put in its place when whole.

    Where there is one already nothing is written: another process has just brought it.
    """
    import tempfile  # only for a run that was made elsewhere

    make_folder(place.parent)
    made = Path(tempfile.mkdtemp(prefix="fetched-", dir=place.parent.parent))
    try:
        _write_files(made, copy)
        with suppress(OSError):
            made.rename(place)
        sync_directory(place.parent)
    finally:
        take_away(made)


def _write_files(place: Path, copy: Copy) -> None:
    files = {
        PLAN: copy.plan,
        CHECKPOINTS: chain.joined(copy.marks),
        JOURNAL: chain.joined(copy.lines),
    }
    for name, content in files.items():
        if content or name == JOURNAL:
            create(place / name, content)
    sync_directory(place)


def agreed(copies: Sequence[Copy]) -> int:
    """The number of the first line in which two copies differ; where none do, the length of the longest copy.

    A copy that is merely shorter than another does not differ from it.
    """
    longest = max((copy.lines for copy in copies), key=len, default=())
    first = len(longest)
    for copy in copies:
        if copy.lines[:first] != longest[: min(first, len(copy.lines))]:
            first = next(seq for seq, line in enumerate(copy.lines) if line != longest[seq])
    return first


def number_of(key: str) -> int:
    """The number in the name of an object; -1 when there is none."""
    name = key.rpartition("/")[2].partition(".")[0].partition("-")[0]
    return int(name) if name.isascii() and name.isdigit() else -1


def _age(mark: bytes) -> tuple[int, str]:
    """By size, then by time; what cannot be read stands first, for whoever judges it."""
    try:
        told = chain.decode_checkpoint(mark)
    except ValueError:
        return -1, ""
    return told.size, told.at
