"""What a step is: it observes, it applies, and where it can it undoes.

A kind of step is one frozen type whose fields are the YAML parameters. It knows Protocols (`dr.targets.protocols`),
never a technology, and reaches them through `Here`.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, Protocol, TypeVar, assert_never

import msgspec

Evidence = Mapping[str, object]
"""What was seen or said, as JSON values; it goes into the journal."""

FieldPath = tuple[str | int, ...]
"""Keys and positions that lead to a field."""

Reversal = Literal["undo", "nothing-to-undo", "impossible"]
"""Whether a step can be compensated.

`undo`: it can. `nothing-to-undo`: it leaves nothing behind. `impossible`: it is a point of no return.
"""


class InPlace(msgspec.Struct, frozen=True):
    """The effect is there."""

    evidence: Evidence = {}


class NotInPlace(msgspec.Struct, frozen=True):
    """The effect is not there; `evidence` is what stands instead, and what `undo` goes back to."""

    evidence: Evidence = {}


class Unknown(msgspec.Struct, frozen=True):
    """It could not be seen. Never read as failure (safety rule 3)."""

    why: str


Observation = InPlace | NotInPlace | Unknown


def opposite(seen: Observation) -> Observation:
    """What was seen, as it counts for an undo: the effect not being there is then what is wanted."""
    match seen:
        case NotInPlace(evidence):
            return InPlace(evidence)
        case InPlace(evidence):
            return NotInPlace(evidence)
        case Unknown():
            return seen
        case _:
            assert_never(seen)


T = TypeVar("T")


class Here(Protocol):
    """What a step may use while it is performed: its targets, its time, and a way to be heard."""

    run: str
    step: str
    attempt: int

    def reach(self, protocol: type[T], target: str) -> T:
        """The target of that name, opened for this attempt and closed after it.

        Raises:
            TargetUnreachable: it could not be opened.
        """
        ...

    def release(self, target: str) -> None:
        """Close the target, so that the next `reach` opens it anew; for one that was lost. Harmless when repeated."""
        ...

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        ...

    def remaining(self) -> float:
        """Seconds left of this attempt's timeout; never negative."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than `remaining()`.

        Raises:
            StopRequested: the operator asked to stop; the step is left as it stands and observed on resume.
            OutOfTime: the attempt's time is over.
        """
        ...

    def say(self, text: str) -> None:
        """Tell the person watching what is happening. Not an entry, changes nothing."""
        ...


class StopRequested(Exception):
    """The operator asked to stop. The step stays as it stands."""


class OutOfTime(Exception):
    """The attempt's time is over. The step is in doubt until it is observed."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of step. Subclass it in a file of its own under `dr/steps/`.

    The fields are the YAML parameters under `with:`. A field that names a target is typed with the alias made by
    `target()`, so that binding can check it.
    """

    kind: ClassVar[str]
    reversal: ClassVar[Reversal] = "nothing-to-undo"
    observable: ClassVar[bool] = True
    acts: ClassVar[bool] = True
    """False: it only looks. What is not in place then is a failed attempt; nothing is applied."""
    asks: ClassVar[bool] = False
    """True: the operator is asked before the step is applied, whatever `confirm` says."""

    def summary(self) -> str:
        """The sentence of the plan: what will be done, in the operator's words."""
        raise NotImplementedError

    def targets(self) -> tuple[str, ...]:
        """Names of the targets this step reaches; a step without any cannot hang and is performed in place."""
        return tuple(name for name, _ in self.roles())

    def roles(self) -> Iterable[tuple[str, "TargetRole"]]:
        """Each target that the step names, with the role it must play.

        Overridden by a kind where a parameter decides which of its fields name targets.
        """
        return target_fields(self)

    def reverses(self) -> Reversal:
        """Whether this very step can be compensated. A kind whose undo is a parameter says `impossible` without it."""
        return self.reversal

    def takes(self) -> float:
        """Seconds that one look takes by design (a hold time, say); a shorter timeout is refused."""
        return 0.0

    def preview(self, here: Here) -> Evidence | None:
        """What exactly would be acted on right now (a list of sessions, say), for `dr plan --look`.

        None: there is nothing to list.
        """
        return None

    def observe(self, here: Here) -> Observation:
        """Look whether the effect is there. Changes nothing."""
        return Unknown("this kind of step cannot be observed")

    def apply(self, here: Here) -> Evidence:
        """Bring the effect about. What is returned is a claim, not proof. Must be harmless when repeated."""
        raise NotImplementedError

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Go back to `before` (what was observed before the first apply). Must be harmless when repeated."""
        raise NotImplementedError

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        """Look whether `before` stands again: `InPlace` means undone. By default: the effect is no longer seen."""
        return opposite(self.observe(here))


class TargetRole(msgspec.Struct, frozen=True):
    """Marks a field as the name of a target that speaks `protocol`."""

    protocol: str
    may_be_down: bool = False
    """The run may begin although the target does not answer: that may be the very reason for the step."""


def target(protocol: type, *, may_be_down: bool = False) -> msgspec.Meta:
    """Annotates a field that names a target: `database: Annotated[str, target(Database)]`."""
    return msgspec.Meta(min_length=1, extra={"target": TargetRole(protocol.__name__, may_be_down)})


def target_fields(value: object) -> Iterator[tuple[str, TargetRole]]:
    """Each target named in `value` (a Struct, a tuple or a list of them, to any depth) with the role it must play."""
    return ((name, role) for _, name, role in placed_target_fields(value, ()))


def placed_target_fields(value: object, path: FieldPath) -> Iterator[tuple[FieldPath, str, TargetRole]]:
    """The same, each with the path of its field as it is written; `path` is that of `value`."""
    if isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from placed_target_fields(item, (*path, number))
    elif isinstance(value, msgspec.Struct):
        for name, written, role in _fields_of(type(value)):
            content = getattr(value, name)
            if role is None:
                yield from placed_target_fields(content, (*path, written))
            elif content is not None:
                yield (*path, written), content, role


@functools.cache  # a runbook of 1,000 steps has a handful of kinds
def _fields_of(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, TargetRole | None], ...]:
    """Fields of a type that name a target or may hold something that does: name, name as written, and the role."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    roles = ((field, _role(field.type)) for field in info.fields)
    return tuple((field.name, field.encode_name, role) for field, role in roles if role or not _is_plain(field.type))


def _is_plain(kind: msgspec.inspect.Type) -> bool:
    """Whether no target can be named in it."""
    bare = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    return isinstance(bare, msgspec.inspect.StrType | msgspec.inspect.IntType | msgspec.inspect.BoolType)


def _role(kind: msgspec.inspect.Type) -> TargetRole | None:
    """The role of the target that a field names, also where it may be left out; None: the field names no target."""
    members = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    marks = (item.extra or {} for item in members if isinstance(item, msgspec.inspect.Metadata))
    return next((mark["target"] for mark in marks if "target" in mark), None)
