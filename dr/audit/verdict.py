"""What the bytes of a run prove. Pure: lines in, verdict out; whoever fetched them is no matter here.

Four standings. *Tampered*: something was changed, added, moved, removed or forged. *Incomplete*: nothing of that was
found, but a signature that must be there is missing, so whatever is only behind the chain could have been rewritten by
whoever can write the files. *Unverifiable*: there are signatures, and nobody has said whose are to be accepted. *Well*.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from dr.audit import chain
from dr.audit.allowed_signers import AllowedSigners
from dr.audit.signature import BadSignature, parse, verify
from dr.core import events as e

Standing = Literal["well", "tampered", "incomplete", "unverifiable"]


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint with a good signature."""

    size: int
    """It covers the entries below this number."""
    at: str
    actor: str
    key: str
    """Fingerprint."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Findings are sentences that name the entry or the checkpoint."""

    head: chain.Head
    """The end of the chain, as far as it holds."""
    checkpoints: int = 0
    signed: tuple[Signed, ...] = ()
    """By size."""
    judged: bool = False
    """Whether it was known whose signatures are to be accepted."""
    expected: bool = False
    """Whether signatures are expected: the run says it is signed, or somebody said whose signatures count."""
    tampered: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        if self.tampered:
            return "tampered"
        if self.incomplete:
            return "incomplete"
        return "unverifiable" if self.signed and not self.judged else "well"

    @property
    def covered(self) -> int:
        """Entries below this number are behind a signature."""
        return self.signed[-1].size if self.signed else 0

    def behind(self) -> Iterator[str]:
        """Which entries are behind whose signature, from when; and which are behind the chain alone."""
        done = 0
        word = "signed" if self.judged else "said to be signed"
        for mark in self.signed:
            what = span(done, mark.size) if mark.size > done else "the same"
            yield f"{what}: {word} by {mark.actor} at {mark.at} ({mark.key})"
            done = mark.size
        if done < self.head.size:
            yield f"{span(done, self.head.size)}: behind no signature, only behind the chain"


def judge(
    run: str,
    lines: Iterable[bytes],
    checkpoints: Sequence[bytes],
    signers: AllowedSigners | None,
    *,
    allow_unsigned: bool = False,
) -> Verdict:
    """Judge a run.

    Args:
        run: its name.
        lines: the raw lines of its journal, without newlines.
        checkpoints: the raw lines of its checkpoints.
        signers: whose signatures are accepted; None: nobody said.
        allow_unsigned: a run that was started unsigned is well although `signers` are known.
    """
    marks, signed, tampered = _judge_checkpoints(run, checkpoints, signers)
    story = _Story(run, {mark.size - 1 for mark in signed}, thorough=bool(signed) or signers is not None)
    try:
        head = chain.check(story.told(lines), checkpoints=marks)
    except chain.Broken as broken:
        tampered.append(str(broken))
        head = chain.Head(broken.seq, "")
    expected = bool(signed) or story.claims or (signers is not None and not allow_unsigned)
    verdict = Verdict(
        head=head,
        checkpoints=len(marks),
        signed=tuple(signed),
        judged=signers is not None,
        expected=expected,
        tampered=tuple(tampered),
    )
    if tampered or not expected:
        return verdict
    reasons = [story.unsigned, *(mark.unsigned for mark in marks)]
    incomplete = (*_uncovered(verdict, reasons), *_missing(signed, story))
    notes = (*_in_other_names(signed, story), *_out_of_time(signed, story))
    return msgspec.structs.replace(verdict, incomplete=incomplete, notes=notes)


def span(first: int, end: int) -> str:
    """`entries 3-7`: from `first` to the one before `end`."""
    return f"entry {first}" if end == first + 1 else f"entries {first}-{end - 1}"


def _judge_checkpoints(
    run: str, lines: Sequence[bytes], signers: AllowedSigners | None
) -> tuple[list[chain.Checkpoint], list[Signed], list[str]]:
    """The checkpoints that count, those of them that are signed, and what is wrong with the others."""
    marks: list[chain.Checkpoint] = []
    signed: list[Signed] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            mark = chain.decode_checkpoint(line)
        except ValueError as error:
            wrong.append(f"checkpoint {number}: it cannot be read ({error})")
            continue
        name = f"checkpoint {number}, of {mark.actor} at size {mark.size}"
        if mark.run != run:
            wrong.append(f"{name}: it is one of another run ({mark.run})")
            continue
        try:
            key = _signer(mark, signers) if mark.signature else ""
        except BadSignature as error:
            wrong.append(f"{name}: {error}")
            continue
        marks.append(mark)
        if key:
            signed.append(Signed(size=mark.size, at=mark.at, actor=mark.actor, key=key))
    return marks, sorted(signed, key=lambda item: item.size), wrong


def _signer(mark: chain.Checkpoint, signers: AllowedSigners | None) -> str:
    """The fingerprint of the key that signed it. Raises BadSignature."""
    try:
        signature = parse(mark.signature)
        verify(signature, chain.signed_bytes(mark))
    except BadSignature as error:
        raise BadSignature(f"its signature is not good: {error}") from None
    if signers is not None:
        refusal = signers.refusal(signature.key, mark.actor, _seconds(mark.at))
        if refusal:
            raise BadSignature(f"its signature is not accepted: {refusal}")
    return signature.key.fingerprint


def _seconds(at: str) -> float:
    try:
        return datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadSignature(f"its time cannot be read: {at!r}") from None


class _Process(msgspec.Struct):
    """One process that worked on the run, as its first entry names it."""

    seq: int
    actor: str
    signer: str
    first_effect: int | None = None
    """The entry that says it is about to touch something."""


class _Story:
    """What the entries tell about signing, noted while they pass by on their way to the chain."""

    def __init__(self, run: str, signed: Collection[int], *, thorough: bool) -> None:
        """`signed`: the entries that are the last of those that a checkpoint covers."""
        self.processes: list[_Process] = []
        self.actors: list[tuple[int, str]] = []
        """Where another actor begins to write."""
        self.unsigned = ""
        """Why the run is unsigned, as whoever started it said."""
        self.times: dict[int, str] = {}
        """Of the entries that are the last ones signed."""
        self.set_back: list[int] = []
        """Entries whose time is before that of the one before them."""
        self._run = run
        self._signed = signed
        self._last = ""
        self._thorough = thorough

    @property
    def claims(self) -> bool:
        """Whether the run says that it is signed."""
        return any(process.signer for process in self.processes)

    def told(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for seq, line in enumerate(lines):
            yield line  # the chain judges it first
            if seq == 0 or self._thorough:
                self._hear(seq, line)
                self._thorough = self._thorough or self.claims

    def _hear(self, seq: int, line: bytes) -> None:
        try:
            entry = e.decode_entry(line)
            if self._thorough:
                _read_strictly(line)
        except ValueError as error:  # msgspec's own errors and those of Unicode are ValueErrors
            raise chain.Broken(seq, f"it cannot be read ({error})") from None
        if entry.run != self._run:
            raise chain.Broken(seq, f"it belongs to the run {entry.run}")
        if not self.actors or self.actors[-1][1] != entry.actor:
            self.actors.append((seq, entry.actor))
        if entry.at < self._last:
            self.set_back.append(seq)
        self._last = entry.at
        if seq in self._signed:
            self.times[seq] = entry.at
        match entry.event:
            case e.RunStarted(signer=signer, unsigned=unsigned) | e.RunResumed(signer=signer, unsigned=unsigned):
                self.processes.append(_Process(seq, entry.actor, signer))
                self.unsigned = unsigned or self.unsigned
            case e.ApplyStarted() | e.UndoStarted() if self.processes and self.processes[-1].first_effect is None:
                self.processes[-1].first_effect = seq
            case _:
                pass


def _read_strictly(line: bytes) -> None:
    """Raises ValueError: a name stands in it twice, or it is no JSON to some: it must say the same to every reader."""
    from dr.targets.transport.json_text import parse  # loads Python's json: only for a run that is signed

    parse(line.decode())


def _uncovered(verdict: Verdict, reasons: Sequence[str]) -> Iterator[str]:
    if verdict.covered < verdict.head.size:
        said = "; ".join(dict.fromkeys(filter(None, reasons)))
        why = f" (the run says why: {said})" if said else ""
        yield f"{span(verdict.covered, verdict.head.size)}: behind no signature, only behind the chain{why}"


def _missing(signed: Sequence[Signed], story: _Story) -> Iterator[str]:
    """A process that signs does so before its first effect: that signature was there, or there was no effect."""
    for process in story.processes:
        if not process.signer or process.first_effect is None:
            continue
        between = range(process.seq + 1, process.first_effect + 1)
        if not any(mark.key == process.signer and mark.size in between for mark in signed):
            yield (
                f"entry {process.seq}: {process.actor} began there and signed before the first effect "
                f"(entry {process.first_effect}); the signature is missing"
            )


def _in_other_names(signed: Sequence[Signed], story: _Story) -> Iterator[str]:
    """Entries that were written in the name of somebody who has not signed them, as a kill -9 leaves them."""
    own = {mark.actor: mark.size for mark in signed}
    covered = max(own.values(), default=0)
    ends = [*(first for first, _ in story.actors[1:]), covered]
    for (first, actor), end in zip(
        story.actors, ends, strict=False
    ):  # a journal without entries has an end and no actor
        begin = max(first, own.get(actor, 0))
        if begin < min(end, covered):
            yield f"{span(begin, min(end, covered))}: in the name of {actor}, who has not signed them; others have"


def _out_of_time(signed: Sequence[Signed], story: _Story) -> Iterator[str]:
    """Times that go back: a clock did, or somebody wrote another time, as whoever signs with an expired key must."""
    why = "a clock went back, or one of the two was not written then"
    for seq in story.set_back:
        yield f"entry {seq}: its time is before that of entry {seq - 1}: {why}"
    for mark in signed:
        if mark.at < story.times.get(mark.size - 1, ""):
            yield f"entry {mark.size - 1}: signed by {mark.actor} for a time before its own: {why}"
