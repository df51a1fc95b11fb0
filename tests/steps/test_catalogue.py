"""What every kind of step must keep, whoever writes the next one."""

import inspect
from typing import Any

import msgspec
import pytest

from dr.core.duration import Duration
from dr.core.step import Step, TargetRole
from dr.steps import CATALOGUE
from dr.targets import cloud, playbooks, pools, protocols, switching

WORDS = (protocols, cloud, switching, pools, playbooks)
"""Where the Protocols of targets are."""
KINDS = list(CATALOGUE.values())
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def schema_hook(kind: type) -> dict[str, Any]:
    assert kind is Duration, f"{kind} has no JSON Schema"
    return {"type": "string"}


def structs_in(described: msgspec.inspect.Type) -> list[msgspec.inspect.StructType]:
    """The type and all Structs inside it, to any depth."""
    found: list[msgspec.inspect.StructType] = []
    for name in ("type", "item_type", "value_type"):
        if inner := getattr(described, name, None):
            found += structs_in(inner)
    for inner in (*getattr(described, "types", ()), *getattr(described, "item_types", ())):
        found += structs_in(inner)
    if isinstance(described, msgspec.inspect.StructType):
        found.append(described)
        for field in described.fields:
            found += structs_in(field.type)
    return found


@every_kind
def test_its_name_is_a_thing_and_what_is_done_to_it(kind: type[Step]) -> None:
    assert CATALOGUE[kind.kind] is kind
    assert all(part.isidentifier() and part.islower() for part in kind.kind.split("."))


@every_kind
def test_it_is_a_value_and_refuses_what_it_does_not_know(kind: type[Step]) -> None:
    for described in structs_in(msgspec.inspect.type_info(kind)):
        config = described.cls.__struct_config__
        assert config.frozen, described.cls
        assert config.forbid_unknown_fields, described.cls


@every_kind
def test_it_says_what_it_does(kind: type[Step]) -> None:
    first = (kind.__doc__ or "").splitlines()[0]
    assert first.endswith(".")
    assert kind.summary is not Step.summary


@every_kind
def test_it_can_be_observed_or_says_that_it_cannot(kind: type[Step]) -> None:
    assert (kind.observe is not Step.observe) == kind.observable


@every_kind
def test_it_can_be_undone_exactly_if_it_says_so(kind: type[Step]) -> None:
    assert (kind.undo is not Step.undo) == (kind.reversal == "undo")


@every_kind
def test_it_applies_something_unless_it_only_looks(kind: type[Step]) -> None:
    assert (kind.apply is not Step.apply) == kind.acts


@every_kind
def test_editors_can_be_told_its_fields(kind: type[Step]) -> None:
    schema = msgspec.json.schema(kind, schema_hook=schema_hook)
    [own] = [part for name, part in schema["$defs"].items() if name == kind.__name__]
    assert own["additionalProperties"] is False


@every_kind
def test_its_fields_hide_nothing_that_every_step_has(kind: type[Step]) -> None:
    fields = {field.name for field in msgspec.structs.fields(kind)}
    assert not fields & {name for name in dir(Step) if not name.startswith("_")}
    assert not fields & {"id", "kind", "title", "with", "retry", "timeout", "on_failure", "ungraceful", "confirm"}


@every_kind
def test_its_targets_are_named_by_a_protocol_there_is(kind: type[Step]) -> None:
    for described in structs_in(msgspec.inspect.type_info(kind)):
        for field in described.fields:
            for member in getattr(field.type, "types", (field.type,)):  # one that may be left out is a union
                if role := (getattr(member, "extra", None) or {}).get("target"):
                    assert isinstance(role, TargetRole)
                    assert any(hasattr(module, role.protocol) for module in WORDS)


@every_kind
def test_it_takes_time_and_targets_only_from_where_it_is(kind: type[Step]) -> None:
    """The same step runs in a simulated world: no clock, sleep, chance or technology of its own."""
    module = inspect.getmodule(kind)
    assert module is not None
    used = {name for name, value in vars(module).items() if inspect.ismodule(value)}
    assert used <= {"math", "msgspec", "re", "shlex"}
    sources = {getattr(value, "__module__", "") for value in vars(module).values()}
    words = {module.__name__ for module in WORDS}
    assert not {name for name in sources if name.startswith("dr.targets.")} - words


def test_each_kind_stands_in_the_catalogue_under_its_own_name() -> None:
    assert [kind.kind for kind in KINDS] == list(CATALOGUE)
