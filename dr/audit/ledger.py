"""The ledger of a home: which runs were started and ended there, as a chain of its own.

    ledger/<n>.json    one line each, made like an entry: first the SHA-256 of the line before it and its number

So a whole run that was removed is missed, and a run that was put there by another hand is noticed.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from dr.audit import chain
from dr.audit.copies import SIDE_BY_SIDE, number_of
from dr.audit.store import Store, Stored, StoreUnreachable, Taken

LEDGER = "ledger/"
LEDGER_WITHIN = 15.0
"""Seconds in which the store must have taken a line."""
TRIES = 100
"""Processes that may be faster with a line each, before this one gives up."""


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line. The field order is the byte order and part of the format."""

    prev: str
    seq: int
    run: str
    what: Literal["started", "ended"]
    plan: str = ""
    """SHA-256 of the plan, of a run that was started."""
    size: int = 0
    """Entries of a run that has ended, and their head."""
    head: str = ""
    at: str
    who: str


def write(store: Store, make: Callable[[chain.Head], Line]) -> None:
    """Append a line. When another process takes the number, the next one is tried.

    Raises:
        FateUnknown, StoreUnreachable, StoreRefused
    """
    for _ in range(TRIES):
        objects = _objects(store)
        head = chain.EMPTY
        if objects:
            head = chain.link(chain.Head(number_of(objects[-1].key), ""), store.read(objects[-1]))
        line = msgspec.json.encode(make(head))
        try:
            store.create(f"{LEDGER}{head.size:010d}.json", line, within=LEDGER_WITHIN)
        except Taken:
            continue
        return
    raise StoreUnreachable(f"{store.name}: {TRIES} other lines were written to the ledger meanwhile")


def read(store: Store) -> tuple[tuple[Line, ...], str]:
    """The lines as far as they hold, and what is wrong with the one after; empty when nothing is.

    Raises:
        StoreUnreachable, StoreRefused
    """
    from concurrent.futures import ThreadPoolExecutor  # only for a store: whoever has no home does not pay for it

    objects = _objects(store)
    with ThreadPoolExecutor(SIDE_BY_SIDE, "ledger") as pool:
        raw = list(pool.map(store.read, objects))
    wrong = ""
    try:
        chain.check(raw)
    except chain.Broken as broken:
        wrong, raw = f"line {broken.seq} of the ledger: {broken.why}", raw[: broken.seq]
    lines = []
    for number, line in enumerate(raw):
        try:
            lines.append(msgspec.json.decode(line, type=Line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong = f"line {number} of the ledger: it cannot be read ({error})"
            break
    return tuple(lines), wrong


def _objects(store: Store) -> list[Stored]:
    return sorted((item for item in store.list(LEDGER) if item.version), key=lambda item: item.key)
