"""Where the copies of a run agree, and what an operator has ruled where they do not. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from dr.audit import chain
from dr.audit.copies import HERE, Copy, agreed
from dr.errors import JournalBroken, UsageError


class Rulings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has said about the journal; each ruling that was needed becomes an entry."""

    without_home: str = ""
    """Why the run goes on although the home does not hear of it; empty: it does not."""
    take_over: bool = False
    """The process that has the run does nothing any more."""
    trust: str = ""
    """Which copy is right where copies differ: `local`, `home`, or the URL of a store."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What the run is, seen over all its copies."""

    whole: Copy
    entry: int | None = None
    """The first entry in which copies differ; None when none do."""
    against: tuple[str, ...] = ()
    """The copies that hold something else than the trusted one."""


def agree(run: str, copies: Sequence[Copy], trusted: str = "", *, fixed: str = "") -> Agreement:
    """The longest of the copies, when every other one is its beginning.

    Args:
        run: its name.
        copies: the local one and those that could be read.
        trusted: the name of the one that is right if they differ; empty: nobody has ruled.
        fixed: the name of one that is to be written further, and of which nothing can be replaced.

    Raises:
        JournalBroken: they differ, or what they agree on does not hold, or the fixed one was ruled wrong; the entry is
            named.
        UsageError: there is no copy of the trusted name.
    """
    entry = _differ(copies)
    if entry is None:
        return Agreement(whole=_whole(run, copies))
    if not trusted:
        raise _differing(run, copies, entry)
    right = next((copy for copy in copies if copy.where == trusted), None)
    if right is None:
        there = ", ".join(copy.where for copy in copies)
        raise UsageError(f"there is no copy {trusted!r} of {run} to trust", stands=f"there is {there}")
    with_it = [copy for copy in copies if copy is right or (_differ((copy, right)) is None and copy.behind_gap is None)]
    if right.behind_gap is not None:
        raise _differing(run, [right], entry)
    against = tuple(copy.where for copy in copies if copy not in with_it)
    if fixed in against:
        raise JournalBroken(
            f"{fixed} holds another entry {entry} of {run}, and nothing there is ever replaced",
            stands="nothing was touched",
            hint="go on without it: add --without-home REASON",
        )
    return Agreement(whole=_whole(run, with_it), entry=entry, against=against)


def _differ(copies: Sequence[Copy]) -> int | None:
    """The first entry in which copies differ, or that one of them has lost."""
    longest = max(len(copy.lines) for copy in copies)
    first = min(agreed(copies), *(len(copy.lines) for copy in copies if copy.behind_gap is not None), longest)
    broken = first < longest or any(copy.behind_gap is not None for copy in copies)
    return first if broken else None


def _whole(run: str, copies: Sequence[Copy]) -> Copy:
    """The longest of copies that are each other's beginnings, with the checkpoints of all; verified."""
    longest = max(copies, key=lambda copy: len(copy.lines))
    marks = _together(copy.marks for copy in copies)
    try:
        told = list(map(chain.decode_checkpoint, marks))
        chain.check(longest.lines, checkpoints=told)
    except (chain.Broken, ValueError) as error:
        raise JournalBroken(
            f"the journal of {run} does not verify, over all its copies: {error}",
            stands="nothing was touched",
            hint=f"dr audit verify {run}",
        ) from None
    plan = next((copy.plan for copy in copies if copy.plan), b"")
    return msgspec.structs.replace(longest, plan=plan, marks=marks)


def _together(marks: Iterable[tuple[bytes, ...]]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(mark for some in marks for mark in some))


def _differing(run: str, copies: Sequence[Copy], entry: int) -> JournalBroken:
    told = "; ".join(f"{copy.where} {_has(copy, entry)}" for copy in copies)
    return JournalBroken(
        f"the copies of {run} differ in entry {entry}: {told}",
        stands="nothing was touched; entries before it are the same everywhere",
        hint=f"dr audit verify {run}, then say which is right: dr resume {run} --trust local|home|URL",
    )


def _has(copy: Copy, entry: int) -> str:
    if len(copy.lines) > entry:
        return f"has {chain.link(chain.EMPTY, copy.lines[entry]).hash[:16]}"
    return "has lost it" if copy.behind_gap is not None else "has none yet"


def copy_name(trust: str, home: str) -> str:
    """The name of the copy that `local`, `home` or a URL means."""
    return {"local": HERE, "home": home}.get(trust, trust.rstrip("/"))
