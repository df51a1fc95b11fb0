"""The hash chain over raw lines. Pure: it judges bytes and never fetches them.

Each line begins with the SHA-256 of the raw line before it and its own number: `{"prev":"<hex>","seq":<n>,`. So a chain
is verified with one comparison and one hash per line, and without parsing JSON. (Canonicalising each entry again was
measured to be 13 times slower, and makes the proof depend on a serialiser.)
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec

from dr.core.events import GENESIS


class Head(msgspec.Struct, frozen=True):
    """The end of a chain: how many entries there are, and the SHA-256 of the last line in hex."""

    size: int
    hash: str


EMPTY = Head(0, GENESIS)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Somebody's word that a chain of this size had this head. What is behind a checkpoint cannot be cut off unseen.

    Stored as one line of JSON, in the order of the fields. What is signed is that line without its last field.
    """

    run: str
    size: int
    head: str
    at: str
    actor: str
    signature: str = ""
    """Of the actor over `signed_bytes`, as OpenSSH writes it (`dr.audit.signature`); empty: unsigned."""
    unsigned: str = ""
    """Why there is no signature although there should be one."""


Seal = Callable[[Checkpoint], Checkpoint]
"""Puts a signature on a checkpoint, where there is somebody who signs."""


def unsealed(mark: Checkpoint) -> Checkpoint:
    """The `Seal` of an unsigned run."""
    return mark


def signed_bytes(mark: Checkpoint) -> bytes:
    """What a signature of this checkpoint is made over."""
    return encode_checkpoint(msgspec.structs.replace(mark, signature="", unsigned=""))


def encode_checkpoint(mark: Checkpoint) -> bytes:
    """The raw line of the checkpoint, without a newline."""
    return msgspec.json.encode(mark)


def decode_checkpoint(line: bytes) -> Checkpoint:
    """The checkpoint of a raw line.

    Raises:
        ValueError: it is none, or is written in another way: then it could say one thing to us and another to others.
    """
    mark = msgspec.json.decode(line, type=Checkpoint)
    if encode_checkpoint(mark) != line or (mark.signature and mark.unsigned):
        raise ValueError("it is not written as dr writes checkpoints")
    return mark


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
    marks = sorted((item for item in checkpoints if item.size >= head.size), key=lambda item: item.size, reverse=True)
    size, last = head.size, head.hash
    due = _meet(marks, size, last)
    for line in lines:
        if not line.startswith(f'{{"prev":"{last}","seq":{size},'.encode()):
            raise Broken(size, _why(line, last, size))
        last = sha256(line).hexdigest()
        size += 1
        if size == due:
            due = _meet(marks, size, last)
    if marks:
        knows = f"{_named(marks[-1])} knows {marks[-1].size} entries"
        raise Broken(size, f"the journal ends here, but {knows}: the tail was cut off")
    return Head(size, last)


def joined(lines: Iterable[bytes]) -> bytes:
    """The lines as they stand in a file, each with its newline."""
    return b"\n".join([*lines, b""])


def complete(content: bytes) -> list[bytes]:
    """The lines of a file that have their newline; what a crash left unfinished behind the last one is left out."""
    return content.split(b"\n")[:-1]


_FIRST = rb'\{"prev":"[0-9a-f]{64}","seq":[0-9]+,"first":([0-9]{1,18}),'
"""How a line begins that says with which one it was written together. (Compiled when it is needed, which is rarely.)"""


def split(blocks: Iterable[bytes], tail: list[bytes]) -> Iterator[bytes]:
    """The lines of a file read in blocks. What a crash has left unfinished at its end goes into `tail`.

    That is what is behind the last newline. After a power cut it may be more: any sector of the last write may be
    missing, and then the file has zeros in its place, which no line has otherwise.
    """
    rest, number, blocks = b"", 0, iter(blocks)
    for block in blocks:
        if b"\0" in block:
            yield from _split_at_hole(rest + block + b"".join(blocks), number, tail)
            return
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        number += len(lines)
        yield from lines
    if rest:
        tail.append(rest)


def _split_at_hole(text: bytes, number: int, tail: list[bytes]) -> Iterator[bytes]:
    """The lines of the rest of a file that has zeros in it; the first of them has that number.

    A hole is unfinished with all that is behind it, as long as each line there says that it was written together with
    the one that has the hole. Where one does not, it came after a sync: then the hole has come later, and the lines are
    left as they are, for the chain to find.
    """
    begin = text.rfind(b"\n", 0, text.index(b"\0")) + 1
    before = complete(text[:begin])
    *lines, rest = text[begin:].split(b"\n")
    yield from before
    if all(_is_unsynced(line, number + len(before)) for line in lines):
        lines, rest = [], text[begin:]
    yield from lines
    if rest:
        tail.append(rest)


def _is_unsynced(line: bytes, hole: int) -> bool:
    """Whether a line at or behind the entry with the hole was not synced before the power was cut."""
    first = re.match(_FIRST, line)
    return b"\0" in line or (first is not None and int(first[1]) <= hole)


def finished(marks: bytes) -> int:
    """How many bytes of a file of checkpoints were written to the end. Each is written and synced by itself."""
    end = marks.rfind(b"\n") + 1
    last = marks.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return last if b"\0" in marks[last:end] else end


def marks(content: bytes) -> list[bytes]:
    """The raw lines of a file of checkpoints; an unfinished last one is left out."""
    return complete(content[: finished(content)])


def writes(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Valid lines as they were written first: those that one write has brought together."""
    begin = 0
    for number, line in enumerate(lines):
        if number > begin and not re.match(_FIRST, line):
            yield lines[begin:number]
            begin = number
    yield lines[begin:]


def _meet(marks: list[Checkpoint], size: int, head: str) -> int:
    """Compare and take off the checkpoints of this size, which stand last; the size of the next one, -1 for none."""
    while marks and marks[-1].size == size:
        if marks[-1].head != head:
            what = f"{_named(marks[-1])} holds another hash of it"
            raise Broken(max(size - 1, 0), f"{what}: this entry or one before it was changed")
        marks.pop()
    return marks[-1].size if marks else -1


def _named(mark: Checkpoint) -> str:
    return f"the checkpoint that {mark.actor} signed at {mark.at}" if mark.signature else "a checkpoint"


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
