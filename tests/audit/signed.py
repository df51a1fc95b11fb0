"""Signed runs in a real journal, and their bytes, to attack."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dr.audit import chain
from dr.audit.book import LocalBook
from dr.audit.chain import Checkpoint, decode_checkpoint, encode_checkpoint
from dr.audit.journal import CHECKPOINTS, JOURNAL, Draft
from dr.audit.stored import StoredRun
from dr.audit.verdict import Verdict, judge
from dr.core import events as e
from dr.core.plan import encode_plan
from tests.audit.written import ME, NINE, RUN, drafts
from tests.keyring import Keyring, identity

PAUSE = 12
"""Where the run of thirty entries was paused: there stands a signed checkpoint."""


class Bytes(msgspec.Struct, frozen=True):
    """The raw lines of a run."""

    lines: tuple[bytes, ...]
    marks: tuple[bytes, ...]

    def judged(self, keyring: Keyring, **given: object) -> Verdict:
        signers = given.pop("signers", keyring.signers())
        return judge(RUN, self.lines, self.marks, signers, **given)  # type: ignore[arg-type]

    def but(self, lines: Sequence[bytes] | None = None, marks: Sequence[bytes] | None = None) -> "Bytes":
        return Bytes(self.lines if lines is None else tuple(lines), self.marks if marks is None else tuple(marks))


def write_signed(directory: Path, keyring: Keyring) -> StoredRun:
    """Thirty entries of alice's, signed by her at the start, at a pause and at the end."""
    signing = keyring.signing("alice")
    todo = named(drafts(), "alice", signing.fingerprint)
    journal = LocalBook(directory).create(RUN, encode_plan(NINE), ME, signing.seal)
    for first, end in ((0, 1), (1, PAUSE), (PAUSE, len(todo))):
        journal.append(todo[first:end])
        journal.checkpoint(todo[end - 1].at, identity("alice"))
    journal.close()
    return LocalBook(directory).find(RUN)


def write_together(directory: Path, keyring: Keyring, *, killed: bool = False) -> StoredRun:
    """Alice begins and pauses, or is killed before she can; bob goes on to the end. 31 entries."""
    alice, bob = keyring.signing("alice"), keyring.signing("bob")
    todo = drafts()
    hers = named(todo[:PAUSE], "alice", alice.fingerprint)
    resumed = Draft(todo[PAUSE].at, "", e.RunResumed())
    his = named([resumed, *todo[PAUSE:]], "bob", bob.fingerprint)
    journal = LocalBook(directory).create(RUN, encode_plan(NINE), ME, alice.seal)
    journal.append(hers[:1])
    journal.checkpoint(hers[0].at, identity("alice"))
    journal.append(hers[1:])
    if not killed:
        journal.checkpoint(hers[-1].at, identity("alice"))
    journal.close()
    stored = LocalBook(directory).find(RUN)
    again, _ = stored.resume(ME, bob.seal)
    again.append(his[:1])
    again.checkpoint(his[0].at, identity("bob"))
    again.append(his[1:])
    again.checkpoint(his[-1].at, identity("bob"))
    again.close()
    return stored


def named(some: Sequence[Draft], name: str, fingerprint: str) -> list[Draft]:
    """The drafts as that person's; the first says who signs."""
    first, *rest = (Draft(draft.at, identity(name), draft.event) for draft in some)
    return [Draft(first.at, first.actor, msgspec.structs.replace(first.event, signer=fingerprint)), *rest]


def bytes_of(stored: StoredRun) -> Bytes:
    return Bytes(tuple(stored.raw()), stored.checkpoint_lines())


def put(stored: StoredRun, attacked: Bytes) -> None:
    """Write them over what is stored."""
    for name, lines in ((JOURNAL, attacked.lines), (CHECKPOINTS, attacked.marks)):
        (stored.directory / name).write_bytes(b"".join(line + b"\n" for line in lines))


def rechained(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """The same entries with a chain that holds: what an insider makes of an edited journal."""
    head, made = chain.EMPTY, []
    for line in lines:
        rest = line.split(b",", 2)[2]
        made.append(b'{"prev":"%b","seq":%d,%b' % (head.hash.encode(), head.size, rest))
        head = chain.link(head, made[-1])
    return tuple(made)


def remarked(marks: Sequence[bytes], lines: Sequence[bytes], **changes: object) -> tuple[bytes, ...]:
    """Checkpoints that fit other lines; signatures stay as they were."""
    heads = [chain.EMPTY]
    for line in lines:
        heads.append(chain.link(heads[-1], line))
    found = [decode_checkpoint(mark) for mark in marks]
    return tuple(
        encode_checkpoint(msgspec.structs.replace(mark, head=heads[mark.size].hash, **changes)) for mark in found
    )


def mark_of(lines: Sequence[bytes], size: int, **given: str) -> Checkpoint:
    """An unsigned checkpoint of these lines."""
    head = chain.check(lines[:size])
    fields = {"run": RUN, "at": "2023-05-15T14:00:30.000000Z", "actor": identity("alice"), **given}
    return Checkpoint(size=size, head=head.hash, **fields)
