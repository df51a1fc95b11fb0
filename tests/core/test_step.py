"""What every kind of step gets for free."""

from typing import Annotated, ClassVar, Protocol, cast

import msgspec
import pytest

from dr.core.step import (
    Evidence,
    Here,
    InPlace,
    NotInPlace,
    Observation,
    Step,
    TargetRole,
    Unknown,
    placed_target_fields,
    target,
    target_fields,
)

NOWHERE = cast("Here", None)


class Flags(Protocol):
    """A role that a target can play."""


class Probe(msgspec.Struct, frozen=True):
    at: Annotated[str, target(Flags)]
    path: str = "/"


class Bare(Step, frozen=True):
    kind: ClassVar[str] = "bare"


class Reaching(Step, frozen=True):
    kind: ClassVar[str] = "reaching"

    store: Annotated[str, target(Flags)]
    spare: Annotated[str, target(Flags)] | None = None
    probes: tuple[Probe, ...] = ()
    named: list[Probe] = msgspec.field(default_factory=list)
    note: Annotated[str, msgspec.Meta(max_length=80)] = "store"


class Renamed(msgspec.Struct, frozen=True, rename={"where": "store"}):
    where: Annotated[str, target(Flags)]
    checks: tuple[Probe, ...]
    limit: float | None = None


class Seen(Step, frozen=True):
    kind: ClassVar[str] = "seen"
    what: ClassVar[Observation] = Unknown("?")

    def observe(self, here: Here) -> Observation:
        return type(self).what


def test_a_target_that_a_step_names_is_found_wherever_it_stands() -> None:
    step = Reaching(store="flags", probes=(Probe(at="web"), Probe(at="shop")), named=[Probe(at="api")])
    assert step.targets() == ("flags", "web", "shop", "api")
    assert {role for _, role in target_fields(step)} == {TargetRole("Flags")}


def test_the_field_of_a_target_is_named_as_it_is_written() -> None:
    step = Renamed(where="flags", checks=(Probe(at="api"), Probe(at="web")))
    assert [(path, name) for path, name, _ in placed_target_fields(step, ("with",))] == [
        (("with", "store"), "flags"),
        (("with", "checks", 0, "at"), "api"),
        (("with", "checks", 1, "at"), "web"),
    ]


def test_a_target_that_may_be_left_out_is_found_when_it_is_named() -> None:
    assert Reaching(store="flags", spare="others").targets() == ("flags", "others")


def test_a_step_without_targets_has_none() -> None:
    assert Bare().targets() == ()


def test_the_name_of_a_target_is_not_empty() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"store": ""}, Reaching)


def test_a_field_that_a_step_does_not_have_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"store": "flags", "stroe": "flags"}, Reaching)


def test_a_step_that_says_nothing_cannot_be_observed_takes_no_time_and_lists_nothing() -> None:
    """Safety rule 4."""
    assert isinstance(Bare().observe(NOWHERE), Unknown)
    assert Bare().reverses() == "nothing-to-undo"
    assert Bare().takes() == 0
    assert Bare().preview(NOWHERE) is None


def test_a_step_that_leaves_out_what_it_must_have_is_the_programmers_mistake() -> None:
    with pytest.raises(NotImplementedError):
        Bare().summary()
    with pytest.raises(NotImplementedError):
        Bare().apply(NOWHERE)
    with pytest.raises(NotImplementedError):
        Bare().undo(NOWHERE, {})


@pytest.mark.parametrize(
    "seen, undone",
    [
        (InPlace({"value": "on"}), NotInPlace({"value": "on"})),
        (NotInPlace({"value": "off"}), InPlace({"value": "off"})),
        (Unknown("no route"), Unknown("no route")),
    ],
)
def test_what_is_no_longer_seen_is_undone_and_what_cannot_be_seen_is_not(
    monkeypatch: pytest.MonkeyPatch, seen: Observation, undone: Observation
) -> None:
    """Safety rule 3."""
    monkeypatch.setattr(Seen, "what", seen)
    before: Evidence = {}
    assert Seen().observe_undone(NOWHERE, before) == undone
