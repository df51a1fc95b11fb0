"""What happened in a run: a closed union of frozen types, and the entry that carries one of them.

The canonical JSON of an entry is the line of the journal. `prev` comes first, so that the chain can be verified without
parsing JSON.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

import msgspec

from dr.core.duration import decode_hook, encode_hook
from dr.core.runbook import Mode
from dr.core.step import Evidence

FORMAT: Final = 1

Choice = Literal["retry", "done", "skip", "rollback", "abort", "yes", "accept"]
"""What an operator can answer.

`done` is a ruling that a step in doubt took effect; `accept` ends a run as it stands.
"""

About = Literal["failed", "in-doubt", "confirm", "undo-failed", "no-return", "steady-state"]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question to the operator. The run stands still until it is answered."""

    about: About
    step: str
    text: str
    choices: tuple[Choice, ...]


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="run-started"):
    plan: str
    """SHA-256 of the plan, in hex (safety rule 11)."""
    runbook: str
    environment: str
    mode: Mode
    reason: str = ""
    host: str = ""
    version: str = ""
    detected: str = ""
    """When the trouble was detected (UTC, ISO 8601), if the operator said; recovery time counts from there."""
    caller: str = ""
    """The ARN by which AWS knows who started the run; empty without a home there, or where AWS did not say in time."""
    signer: str = ""
    """Fingerprint of the key that signs the checkpoints of this process; empty: it signs nothing."""
    unsigned: str = ""
    """Why nothing is signed although `dr.toml` says that it should be."""
    format: Literal[1] = FORMAT


class RunResumed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="run-resumed"):
    """Somebody went on with the run. `torn` says what a crash had left unfinished at the end of the journal."""

    host: str = ""
    version: str = ""
    torn_bytes: int = 0
    torn_sha256: str = ""
    signer: str = ""
    """As in `RunStarted`, and `unsigned` too: somebody else may go on."""
    unsigned: str = ""


class RunStopped(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="run-stopped"):
    """The run was stopped at a safe point and can be resumed."""

    because: str


class ApplyStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="apply-started"):
    """The intent: durable before the target is touched (safety rule 1). From here the step is in doubt."""

    step: str
    attempt: int
    before: Evidence = {}
    """What stood before; `undo` goes back to the one of the first attempt."""


class ApplyReturned(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="apply-returned"):
    """What the target claimed. Changes no state: a claim is not proof (safety rule 2)."""

    step: str
    attempt: int
    claim: Evidence = {}
    error: str = ""


class AttemptFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="attempt-failed"):
    step: str
    attempt: int
    error: str
    not_before: str | None = None
    """When the next attempt may begin (UTC, ISO 8601); None: there is none left."""


class StepUnseen(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step-unseen"):
    """After an apply it could not be seen whether the effect is there. The step stays in doubt."""

    step: str
    attempt: int
    why: str
    not_before: str | None = None
    """When it is looked at again (UTC, ISO 8601); None: the operator is asked."""


class StepDone(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step-done"):
    """The effect was seen. Written only out of an observation."""

    step: str
    attempt: int
    evidence: Evidence = {}


class StepSkipped(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step-skipped"):
    step: str
    comment: str


class RollbackStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="rollback-started"):
    because: str


class UndoStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="undo-started"):
    step: str
    attempt: int


class UndoReturned(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="undo-returned"):
    """What the target claimed of an undo. Changes no state."""

    step: str
    attempt: int
    claim: Evidence = {}
    error: str = ""


class UndoFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="undo-failed"):
    step: str
    attempt: int
    error: str
    not_before: str | None = None


class StepUndone(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="step-undone"):
    step: str
    evidence: Evidence = {}


class Paused(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="paused"):
    question: Question


class OperatorAnswered(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="operator-answered"):
    """The operator's ruling; the entry's actor says whose."""

    choice: Choice
    comment: str = ""


class HealthObserved(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="health-observed"):
    """Whether the steady state held for its hold time (safety rule 14)."""

    well: bool
    evidence: Evidence = {}


class CopyLate(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="copy-late"):
    """A mirror of the journal did not keep up and gets no more entries until it has caught up."""

    copy: str
    why: str


class HomeLeft(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="home-left"):
    """The operator goes on without the journal's home; the entries are delivered when it is back."""

    reason: str


class TakenOver(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="taken-over"):
    """The operator took the run from a process that may still be alive; it is shut out by the home."""

    holder: str


class CopyTrusted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="copy-trusted"):
    """The operator ruled which copy of the journal is right, where copies differed from entry `entry` on."""

    copy: str
    entry: int
    against: tuple[str, ...]
    """The copies that held something else."""


Finish = Literal["completed", "rolled-back", "aborted"]
Service = Literal["well", "deviated", "not-checked"]


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="run-ended"):
    """The two results of a run: how it finished, and whether the service is well."""

    finish: Finish
    service: Service


Event = (
    RunStarted
    | RunResumed
    | RunStopped
    | ApplyStarted
    | ApplyReturned
    | AttemptFailed
    | StepUnseen
    | StepDone
    | StepSkipped
    | RollbackStarted
    | UndoStarted
    | UndoReturned
    | UndoFailed
    | StepUndone
    | Paused
    | OperatorAnswered
    | HealthObserved
    | CopyLate
    | HomeLeft
    | TakenOver
    | CopyTrusted
    | RunEnded
)


_TEXTS = frozenset({"because", "comment", "error", "reason", "unsigned", "why"})
_EVIDENCE = frozenset({"before", "claim", "evidence"})
_SAID = {
    kind: tuple(name for name in kind.__struct_fields__ if name in _TEXTS | _EVIDENCE) for kind in get_args(Event)
}  # fmt: skip
"""The fields of each kind of event that hold what a person or a target said."""


def map_text(event: Event, text: Callable[[str], str], inside: Callable[[str], str]) -> Event:
    """The event with each text changed that came from a person or a target. Names, choices and times stay as they are.

    `text` changes a field that is one text, such as an error; `inside` changes each text within evidence. (Every event
    of a run goes through here, so what does not change is not copied.)
    """
    if isinstance(event, Paused):
        question = msgspec.structs.replace(event.question, text=text(event.question.text))
        return Paused(question=question)
    changes: dict[str, object] = {}
    for name in _SAID[type(event)]:
        value = getattr(event, name)
        if not value:
            continue
        changed = text(value) if name in _TEXTS else _map_evidence(value, inside)
        if changed != value:
            changes[name] = changed
    return msgspec.structs.replace(event, **changes) if changes else event


def _map_evidence(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): _map_evidence(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_evidence(item, change) for item in value]
    return value


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the journal. The field order is the byte order and part of the format."""

    prev: str
    """SHA-256 of the raw bytes of the previous line, without its newline, in hex; of the first: `GENESIS`."""
    seq: int
    """Counts from 0."""
    first: int | None = None
    """Number of the first entry that was written together with this one; None: this is it. What a power cut leaves of
    a write may have a hole in it: so what is behind the hole says that it was never synced (`dr.audit.chain.split`)."""
    run: str
    at: str
    """UTC with microseconds, ISO 8601."""
    actor: str
    event: Event


GENESIS = "0" * 64

_encoder = msgspec.json.Encoder(enc_hook=encode_hook)
_decoder = msgspec.json.Decoder(Entry, dec_hook=decode_hook)


def encode_entry(entry: Entry) -> bytes:
    """The raw line of the entry, without a newline."""
    return _encoder.encode(entry)


def decode_entry(line: bytes) -> Entry:
    """The entry of a raw line.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: the line is not an entry of this format.
    """
    try:
        return _decoder.decode(line)
    except RecursionError:  # someone's doing: dr writes nothing that it cannot read
        raise msgspec.DecodeError("it is nested too deeply") from None
