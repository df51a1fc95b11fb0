"""What the copy of a run in a store proves, held against the local one that was verified. Pure.

*Tampered*: something was changed, removed, added, or put on top of what was there first. *Missing*: a copy does not
have everything yet, as a crash, an outage or a late mirror leaves it; `dr audit sync` brings it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from dr.audit import chain
from dr.audit.copies import Copy, number_of, plan_key
from dr.audit.ledger import Line
from dr.audit.store import Stored
from dr.audit.verdict import span
from dr.core.events import RunEnded, decode_entry


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one store. Findings are sentences that name the entry."""

    where: str
    tampered: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def compare(run: str, here: Copy, there: Copy) -> Comparison:
    """Hold the copy in a store against the local one."""
    tampered = [*_on_top(run, there), *(f"{key}: it is no part of the run" for key in there.strangers)]
    missing: list[str] = []
    if there.plan != here.plan:
        (tampered if there.plan or there.lines else missing).append(
            "the plan is another one" if there.plan else "the plan is not there"
        )
    _compare_lines(here, there, tampered, missing)
    _compare_marks(here, there, tampered, missing)
    return Comparison(where=there.where, tampered=tuple(tampered), missing=tuple(missing))


def compare_ledger(
    where: str, lines: Sequence[Line], wrong: str, objects: Iterable[Stored], runs: Mapping[str, Copy]
) -> Comparison:
    """Hold a ledger against the runs that are there.

    Args:
        where: its store.
        lines: the lines that hold.
        wrong: what is wrong with the one after them, if anything.
        objects: those of the ledger.
        runs: the runs of the store, by name.
    """
    tampered = [f"line {number_of(item.key)} of the ledger: {_told(item)}" for item in objects if _touched(item)]
    tampered += [wrong] if wrong else []
    started = {line.run: line for line in lines if line.what == "started"}
    tampered += [
        f"the run {run} is missing: the ledger knows that it was started at {line.at}"
        for run, line in started.items()
        if run not in runs
    ]
    for line in lines:
        if line.what == "ended" and line.run in runs:
            tampered += _cut_off(line, runs[line.run])
    tampered += [f"the run {run} is unknown to the ledger" for run in runs if run not in started and runs[run].lines]
    ended = {line.run for line in lines if line.what == "ended"}
    missing = [
        f"the end of the run {run} is not in the ledger"  # as a crash leaves it, or somebody who cut off the last line
        for run in started
        if run in runs and run not in ended and _has_ended(runs[run])
    ]
    return Comparison(where=where, tampered=tuple(tampered), missing=tuple(missing))


def _has_ended(copy: Copy) -> bool:
    try:
        return bool(copy.lines) and isinstance(decode_entry(copy.lines[-1]).event, RunEnded)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _cut_off(line: Line, copy: Copy) -> Iterator[str]:
    """A run that is not the one whose end the ledger knows."""
    if len(copy.lines) < line.size:
        yield f"the run {line.run} ends after entry {len(copy.lines) - 1}: the ledger knows {line.size} entries"
    elif chain.link(chain.Head(line.size - 1, ""), copy.lines[line.size - 1]).hash != line.head:
        yield f"the run {line.run} is not the one that the ledger knows: entry {line.size - 1} has another hash"


def _on_top(run: str, there: Copy) -> Iterator[str]:
    """What was put on top of first versions, which stay what is read."""
    firsts = sorted(number_of(item.key) for item in there.objects if "/entries/" in item.key)
    ends = dict(zip(firsts, [*firsts[1:], len(there.lines)], strict=True)) if firsts else {}
    for item in there.objects:
        if _touched(item):
            yield f"{_named(run, item.key, ends)}: {_told(item)}"


def _named(run: str, key: str, ends: Mapping[int, int]) -> str:
    number = number_of(key)
    if key == plan_key(run):
        return "the plan"
    if "/entries/" in key:
        return span(number, max(ends[number], number + 1))
    return f"the checkpoint of size {number}" if "/checkpoints/" in key else key


def _touched(item: Stored) -> bool:
    return bool(item.later or item.deleted or not item.version)


def _told(item: Stored) -> str:
    if not item.version:
        return "it was removed; only a delete marker is left"
    later = [f"{item.later} later version{'s' if item.later > 1 else ''}"] if item.later else []
    deleted = [f"{item.deleted} delete marker{'s' if item.deleted > 1 else ''}"] if item.deleted else []
    return f"{' and '.join(later + deleted)} put on top of the first version, which is what is read"


def _compare_lines(here: Copy, there: Copy, tampered: list[str], missing: list[str]) -> None:
    ours, theirs = here.lines, there.lines
    differs = next((seq for seq, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if differs is not None:
        tampered.append(f"entry {differs}: another one than here")
        return
    if there.behind_gap is not None:
        tampered.append(f"{span(len(theirs), there.behind_gap)}: missing, although entry {there.behind_gap} is there")
        return
    known = max((_size(mark) for mark in there.marks), default=0)
    if len(theirs) < known:
        tampered.append(f"{span(len(theirs), known)}: cut off; a checkpoint there knows {known} entries")
    elif len(theirs) < len(ours):
        missing.append(f"{span(len(theirs), len(ours))}: not there")
    elif len(theirs) > len(ours):
        _judge_rest(ours, theirs, tampered, missing)


def _judge_rest(ours: Sequence[bytes], theirs: Sequence[bytes], tampered: list[str], missing: list[str]) -> None:
    """Entries that are there and not here."""
    head = chain.link(chain.Head(len(ours) - 1, ""), ours[-1]) if ours else chain.EMPTY
    try:
        chain.check(theirs[len(ours) :], head)
    except chain.Broken as broken:
        tampered.append(f"entry {broken.seq}: there and not here, and {broken.why}")
    else:
        missing.append(f"{span(len(ours), len(theirs))}: there and not here")


def _compare_marks(here: Copy, there: Copy, tampered: list[str], missing: list[str]) -> None:
    unseen = [_size(mark) for mark in here.marks if mark not in there.marks]
    missing += [f"the checkpoint of size {size}: not there" for size in unseen if size <= len(there.lines)]
    for mark in there.marks:
        if mark not in here.marks:
            try:
                chain.check(here.lines, checkpoints=[chain.decode_checkpoint(mark)])
            except (ValueError, chain.Broken) as error:
                tampered.append(f"a checkpoint that is there and not here: {error}")
            else:
                missing.append(f"the checkpoint of size {_size(mark)}: there and not here")


def _size(mark: bytes) -> int:
    try:
        return chain.decode_checkpoint(mark).size
    except ValueError:
        return 0
