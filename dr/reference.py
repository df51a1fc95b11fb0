"""What can be written in a runbook: for people (`dr kinds`) and for editors (`dr schema`)."""

import inspect
from typing import Any

import msgspec

from dr.core.duration import Duration
from dr.core.plan import STEADY_STATE_KIND
from dr.core.runbook import Runbook, StepSpec
from dr.core.step import Step
from dr.errors import UsageError
from dr.findings import did_you_mean
from dr.steps import CATALOGUE

_REVERSAL = {
    "undo": "can be undone",
    "nothing-to-undo": "leaves nothing to undo",
    "impossible": "cannot be undone: a point of no return",
}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["500ms", "30s", "5m"]}


def kind_lines(name: str | None) -> list[str]:
    """All kinds, a line each; or one of them with its parameters.

    Raises:
        UsageError: there is no such kind.
    """
    if name is None:
        width = max(map(len, CATALOGUE))
        return [f"{kind.kind:{width}}  {_about(kind)}" for kind in CATALOGUE.values()]
    if name not in CATALOGUE:
        raise UsageError(f"there is no kind {name!r}{did_you_mean(name, CATALOGUE)}", hint="dr kinds")
    kind = CATALOGUE[name]
    properties = _schema(kind)["properties"]
    required = _schema(kind).get("required", [])
    lines = [f"{name}: {inspect.cleandoc(kind.__doc__ or '')}", f"({_REVERSAL[kind.reversal]})", "", "with:"]
    for field, content in properties.items():
        default = f" = {msgspec.json.encode(content['default']).decode()}" if "default" in content else ""
        need = "required" if field in required else f"optional{default}"
        about = content.get("description", "")
        lines.append(f"  {field}: {_type(content)} ({need}){'  ' + about if about else ''}")
    return lines


def runbook_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a runbook."""
    (runbook, step), components = msgspec.json.schema_components(
        (Runbook, StepSpec), schema_hook=_hook, ref_template="#/$defs/{name}"
    )
    kinds = tuple(CATALOGUE.values())
    references, kind_components = msgspec.json.schema_components(
        kinds, schema_hook=_hook, ref_template="#/$defs/{name}"
    )
    components |= kind_components
    one_step = {
        **components["StepSpec"],
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind.kind}}},
                "then": {"properties": {"with": reference}},
            }
            for kind, reference in zip(kinds, references, strict=True)
        ],
    }
    one_step["properties"] = {**one_step["properties"], "kind": {"enum": list(CATALOGUE)}}
    components["StepSpec"] = one_step
    stage = {
        "type": "object",
        "properties": {"parallel": {"type": "array", "items": step, "minItems": 1}},
        "required": ["parallel"],
        "additionalProperties": False,
    }
    steps = {
        "type": "array",
        "minItems": 1,
        "items": {"if": {"required": ["parallel"]}, "then": stage, "else": step},
    }
    properties = components["Runbook"]["properties"]
    verify = references[list(CATALOGUE).index(STEADY_STATE_KIND)]
    components["Runbook"] = {
        **components["Runbook"],
        "properties": {**properties, "steps": steps, "steady_state": verify},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **runbook, "$defs": components}


def _schema(kind: type[Step]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components((kind,), schema_hook=_hook)
    found: dict[str, Any] = components[kind.__name__]
    return found


def _about(kind: type[Step]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n")[0]


def _type(content: dict[str, Any]) -> str:
    if "anyOf" in content:
        return " or ".join(_type(item) for item in content["anyOf"])
    if "$ref" in content:
        return str(content["$ref"]).rpartition("/")[2]
    if content.get("pattern") == _DURATION["pattern"]:
        return "duration"
    if content.get("type") == "array":
        return f"list of {_type(content.get('items', {}))}" if isinstance(content.get("items"), dict) else "list"
    if "enum" in content:
        return "|".join(map(str, content["enum"]))
    return str(content.get("type", "any"))


def _hook(kind: type) -> dict[str, Any]:
    """The schema of the types msgspec does not know."""
    if kind is Duration:
        return dict(_DURATION)
    if kind is object:
        return {"description": "any value"}  # msgspec takes an empty schema for none
    raise NotImplementedError(kind)
