"""What can be written in a runbook: for people (`dr kinds`) and for editors (`dr schema`)."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as types

from dr.core.duration import Duration, encode_hook
from dr.core.runbook import Runbook, StepSpec
from dr.core.step import Step
from dr.errors import UsageError
from dr.findings import did_you_mean
from dr.steps import CATALOGUE
from dr.steps.health_verify import HealthVerify
from dr.targets.catalogue import TARGET_TYPES, types_for

Struct = type[msgspec.Struct]

_REVERSAL = {
    "undo": "can be undone",
    "nothing-to-undo": "leaves nothing to undo",
    "impossible": "cannot be undone: a point of no return",
}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["500ms", "30s", "5m"]}
_PARAMETER = {"type": "string", "pattern": r"\$\{[^}]+\}"}


def kind_lines(name: str | None) -> list[str]:
    """All kinds of steps and types of targets, a line each; or one of them with what it takes.

    Raises:
        UsageError: there is none of that name.
    """
    known: dict[str, Struct] = {**CATALOGUE, **TARGET_TYPES}
    if name is None:
        lines = [f"{name:{max(map(len, known))}}  {_about(struct)[0]}" for name, struct in known.items()]
        lines.insert(len(CATALOGUE), "\nTargets, by their `type` in dr.toml:\n")
        return ["Steps, by their `kind` in a runbook:\n", *lines]
    if name not in known:
        raise UsageError(f"there is no kind {name!r}{did_you_mean(name, known)}", hint="dr kinds")
    struct = known[name]
    about, *more = _about(struct)
    traits = ["", f"It {_traits(CATALOGUE[name])}.", "", "with:"] if name in CATALOGUE else ["", "fields in dr.toml:"]
    lines = [f"{name}: {about}", *more, *traits, *_field_lines(struct)]
    for part in _parts(struct):
        lines += ["", f"{_title(part)}: {_about(part)[0]}", *_field_lines(part)]
    return lines


def runbook_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a runbook."""
    kinds = tuple(CATALOGUE.values())
    (runbook, step, *references), components = msgspec.json.schema_components(
        (Runbook, StepSpec, *kinds), schema_hook=_hook, ref_template="#/$defs/{name}"
    )
    at_head: tuple[Struct, ...] = (Runbook, *_parts(Runbook))
    for struct in at_head:
        _annotate(components[struct.__name__], struct)
    in_steps: tuple[Struct, ...] = (StepSpec, *kinds)
    for struct in dict.fromkeys(found for kind in in_steps for found in (kind, *_parts(kind))):
        _annotate(components[struct.__name__], struct)
        _take_parameters(components[struct.__name__])
    one_step, whole = components["StepSpec"], components["Runbook"]["properties"]
    one_step["properties"] |= {"id": components["Runbook"]["properties"]["name"], "kind": {"enum": list(CATALOGUE)}}
    one_step["allOf"] = [
        {"if": {"properties": {"kind": {"const": kind.kind}}}, "then": {"properties": {"with": reference}}}
        for kind, reference in zip(kinds, references, strict=True)
    ]
    stage = {
        "type": "object",
        "properties": {"parallel": {"type": "array", "items": step, "minItems": 1}},
        "required": ["parallel"],
        "additionalProperties": False,
    }
    whole["steps"] |= {"items": {"if": {"required": ["parallel"]}, "then": stage, "else": step}}
    whole["steady_state"] |= references[kinds.index(HealthVerify)]
    del whole["steady_state"]["anyOf"], whole["steady_state"]["default"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **runbook, "$defs": components}


def _annotate(schema: dict[str, Any], struct: Struct) -> None:
    """Say in the schema of `struct` what its fields mean, and the defaults that msgspec cannot print."""
    documented = _field_docs(struct)
    for field in _fields(struct):
        about = schema["properties"][field.encode_name]
        if field.name in documented:
            about["description"] = documented[field.name]
        if not field.required and isinstance(_default(field), Duration):
            about["default"] = str(_default(field))


def _take_parameters(schema: dict[str, Any]) -> None:
    """A value in a step may be `${parameter}`, whatever its type."""
    for name, about in schema["properties"].items():
        if about.get("type") in {"integer", "number", "boolean"} or "pattern" in about or "enum" in about:
            kept = {key: about.pop(key) for key in ("description", "default") if key in about}
            schema["properties"][name] = {"anyOf": [about, _PARAMETER], **kept}
        elif "anyOf" in about:
            about["anyOf"].append(_PARAMETER)
        for option in (about, *about.get("anyOf", ())):
            if "prefixItems" in option:  # the two ends of a range
                option["prefixItems"] = [{"anyOf": [item, _PARAMETER]} for item in option["prefixItems"]]


def _field_lines(struct: Struct) -> Iterator[str]:
    documented = _field_docs(struct)
    for field in _fields(struct):
        need = "required" if field.required else f"default {_value(_default(field))}"
        yield f"  {field.encode_name}: {_words(field.type)} ({need})"
        if field.name in documented:
            yield textwrap.indent(textwrap.fill(documented[field.name], 100), "      ")


def _fields(struct: Struct) -> tuple[types.Field, ...]:
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    return info.fields


def _default(field: types.Field) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _parts(struct: Struct) -> tuple[Struct, ...]:
    """The structs that fields of `struct` are made of, to any depth, each once."""
    found: dict[Struct, None] = {}
    for field in _fields(struct):
        for part in _structs(field.type):
            found |= dict.fromkeys((part, *_parts(part)))
    return tuple(found)


def _structs(kind: types.Type) -> Iterator[Struct]:
    match kind:
        case types.StructType(cls=struct):
            yield struct
        case types.UnionType(types=members):
            for member in members:
                yield from _structs(member)
        case types.Metadata(type=inner) | types.VarTupleType(item_type=inner) | types.DictType(value_type=inner):
            yield from _structs(inner)


def _words(kind: types.Type) -> str:  # noqa: C901 - one case per type
    """A type in the words of a person who writes YAML."""
    match kind:
        case types.Metadata(extra={"target": role}):
            return f"a target of type {types_for(role.protocol)}"
        case types.Metadata(extra={"secret": True}):
            return "a reference to a secret, env:NAME, file:PATH, aws-secret:ID or ssm:NAME"
        case types.Metadata(extra_json_schema={"description": words}):
            return str(words)
        case types.Metadata(type=inner):
            return _words(inner)
        case types.UnionType(types=members):
            words = [_words(member) for member in members if not isinstance(member, types.NoneType)]
            return " or ".join(word for word in words if word != "whole number" or "number" not in words)
        case types.LiteralType(values=values):
            return "|".join(map(str, values))
        case types.VarTupleType(item_type=item):
            return f"list of {_words(item)}"
        case types.TupleType(item_types=items):
            return "[" + ", ".join(map(_words, items)) + "]"
        case types.DictType(value_type=value):
            return f"mapping of {_words(value)}"
        case types.ListType(item_type=item):
            return f"list of {_words(item)}"
        case types.AnyType():
            return "any value"
        case types.StructType(cls=struct):
            return _title(struct)
        case types.CustomType():
            return "duration"
        case types.IntType(ge=low, le=high) if low is not None and high is not None:
            return f"{low} to {high}"
        case types.IntType():
            return "whole number"
        case types.FloatType():
            return "number"
        case types.BoolType():
            return "true|false"
        case _:
            return "text"


def _value(default: object) -> str:
    return "none" if default is None else msgspec.json.encode(default, enc_hook=encode_hook).decode().strip('"')


def _title(struct: Struct) -> str:
    """How a mapping of that type is called: by the field that tells it apart, else by its name."""
    config = struct.__struct_config__
    return f"{{{config.tag_field}: {config.tag}}}" if config.tag_field else f"{{{struct.__name__.lower()}}}"


def _traits(kind: type[Step]) -> str:
    return "only looks, and changes nothing" if not kind.acts else _REVERSAL[kind.reversal]


def _about(struct: Struct) -> list[str]:
    return inspect.cleandoc(struct.__doc__ or "").split("\n")


def _field_docs(struct: Struct) -> Mapping[str, str]:
    """What the text under each field says. Only the source has it."""
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__[: struct.__mro__.index(msgspec.Struct)]):
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = " ".join(words.split())
    return found


def _hook(kind: type) -> dict[str, Any]:
    """The schema of the types msgspec does not know."""
    if kind is Duration:
        return dict(_DURATION)
    if kind is object:
        return {"description": "any value"}  # msgspec takes an empty schema for none
    raise NotImplementedError(kind)
