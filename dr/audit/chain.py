"""The hash chain over raw lines. Pure: it judges bytes and never fetches them.

Each line begins with the SHA-256 of the raw line before it and its own number: `{"prev":"<hex>","seq":<n>,`. So a chain
is verified with one comparison and one hash per line, and without parsing JSON. (Canonicalising each entry again was
measured to be 13 times slower, and makes the proof depend on a serialiser.)
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec

from dr.core.events import GENESIS


class Head(msgspec.Struct, frozen=True):
    """The end of a chain: how many entries there are, and the SHA-256 of the last line in hex."""

    size: int
    hash: str


EMPTY = Head(0, GENESIS)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's word that a chain of this size had this head. What is behind a checkpoint cannot be cut off unseen."""

    run: str
    size: int
    head: str
    at: str
    actor: str


class Broken(Exception):
    """The chain does not hold at entry `seq`."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"entry {seq}: {why}")
        self.seq = seq
        self.why = why


def link(head: Head, line: bytes) -> Head:
    """The head after `line`, which must have been made for this head."""
    return Head(head.size + 1, sha256(line).hexdigest())


def check(lines: Iterable[bytes], head: Head = EMPTY, checkpoints: Sequence[Checkpoint] = ()) -> Head:
    """Verify that `lines` (without newlines) follow `head` and agree with the checkpoints; the new head.

    Raises:
        Broken: with the first entry that is wrong and what is wrong with it.
    """
    marks = iter(sorted((item.size, item.head) for item in checkpoints if item.size >= head.size))
    size, last = head.size, head.hash
    due, expected = next(marks, (-1, ""))
    while due == size:
        _compare(size, last, expected)
        due, expected = next(marks, (-1, ""))
    for line in lines:
        if not line.startswith(f'{{"prev":"{last}","seq":{size},'.encode()):
            raise Broken(size, _why(line, last, size))
        last = sha256(line).hexdigest()
        size += 1
        while due == size:
            _compare(size, last, expected)
            due, expected = next(marks, (-1, ""))
    if due >= 0:
        raise Broken(size, f"the journal ends here, but a checkpoint knows {due} entries: the tail was cut off")
    return Head(size, last)


def split(blocks: Iterable[bytes], tail: list[bytes]) -> Iterator[bytes]:
    """The complete lines of a file read in blocks. Anything after the last newline goes into `tail`."""
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        tail.append(rest)


def _compare(size: int, head: str, expected: str) -> None:
    if head != expected:
        raise Broken(max(size - 1, 0), "a checkpoint holds another hash of it: this entry or one before it was changed")


def _why(line: bytes, last: str, seq: int) -> str:
    """What is wrong with the beginning of a line, in words."""
    prev = b'{"prev":"%b",' % last.encode()
    if not line.startswith(b'{"prev":"'):
        return "it is not an entry"
    if not line.startswith(prev):
        if seq == 0:
            return "it is not the first entry of a journal: what was before it is missing"
        before = f"entry {seq - 1}"
        return f"it does not follow {before}: that entry was changed, or one between them was removed, added or moved"
    return "its number is not the next one"
