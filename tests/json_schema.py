"""As much of JSON Schema (2020-12) as the schema of runbooks uses: what an editor would underline."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip
_SILENT = {"$schema", "$defs", "title", "description", "default", "examples", "discriminator"}


def errors(value: Any, schema: Mapping[str, Any] | bool, root: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Every place where the value does not fit, with the keyword that says so."""
    if isinstance(schema, bool):
        yield from () if schema else (f"{at}: false",)
        return
    for keyword, rule in schema.items():
        if keyword in _SILENT or keyword in {"then", "else"}:
            continue
        yield from _KEYWORDS[keyword](value, rule, schema, root, at)


def _fits(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    return not any(errors(value, schema, root))


def _reference(value: Any, rule: str, _: Any, root: Any, at: str) -> Iterator[str]:
    yield from errors(value, root["$defs"][rule.removeprefix("#/$defs/")], root, at)


def _type(value: Any, rule: str, _: Any, __: Any, at: str) -> Iterator[str]:
    if not isinstance(value, _TYPES[rule]) or (isinstance(value, bool) and rule in {"integer", "number"}):
        yield f"{at}: type"


def _properties(value: Any, rule: Mapping[str, Any], _: Any, root: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() & rule.keys():
            yield from errors(value[name], rule[name], root, f"{at}.{name}")


def _additional(value: Any, rule: Any, schema: Mapping[str, Any], root: Any, at: str) -> Iterator[str]:
    for name in value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else ():
        yield from errors(value[name], rule, root, f"{at}.{name}")


def _required(value: Any, rule: list[str], _: Any, __: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{at}.{name}: required" for name in rule if name not in value)


def _items(value: Any, rule: Any, schema: Mapping[str, Any], root: Any, at: str) -> Iterator[str]:
    first = len(schema.get("prefixItems", ()))
    for number, item in enumerate(value[first:] if isinstance(value, list) else (), first):
        yield from errors(item, rule, root, f"{at}[{number}]")


def _prefix_items(value: Any, rule: list[Any], _: Any, root: Any, at: str) -> Iterator[str]:
    for number, (item, inner) in enumerate(zip(value, rule, strict=False) if isinstance(value, list) else ()):
        yield from errors(item, inner, root, f"{at}[{number}]")


def _any_of(value: Any, rule: list[Any], _: Any, root: Any, at: str) -> Iterator[str]:
    if not any(_fits(value, choice, root) for choice in rule):
        yield f"{at}: anyOf"


def _all_of(value: Any, rule: list[Any], _: Any, root: Any, at: str) -> Iterator[str]:
    for part in rule:
        yield from errors(value, part, root, at)


def _if(value: Any, rule: Any, schema: Mapping[str, Any], root: Any, at: str) -> Iterator[str]:
    yield from errors(value, schema.get("then" if _fits(value, rule, root) else "else", {}), root, at)


def _pattern(value: Any, rule: str, _: Any, __: Any, at: str) -> Iterator[str]:
    if isinstance(value, str) and not re.search(rule, value):
        yield f"{at}: pattern"


def _holds(keyword: str, condition: Any) -> Any:
    def check(value: Any, rule: Any, _: Any, __: Any, at: str) -> Iterator[str]:
        if not condition(value, rule):
            yield f"{at}: {keyword}"

    return check


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KEYWORDS: Mapping[str, Any] = {
    "$ref": _reference,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix_items,
    "anyOf": _any_of,
    "allOf": _all_of,
    "if": _if,
    "pattern": _pattern,
    "propertyNames": lambda value, rule, _, root, at: (
        error
        for name in (value if isinstance(value, dict) else ())
        for error in errors(name, rule, root, f"{at}.{name}")
    ),
    "enum": _holds("enum", lambda value, rule: value in rule),
    "const": _holds("const", lambda value, rule: value == rule),
    "minItems": _holds("minItems", lambda value, rule: not isinstance(value, list) or len(value) >= rule),
    "maxItems": _holds("maxItems", lambda value, rule: not isinstance(value, list) or len(value) <= rule),
    "minLength": _holds("minLength", lambda value, rule: not isinstance(value, str) or len(value) >= rule),
    "maxLength": _holds("maxLength", lambda value, rule: not isinstance(value, str) or len(value) <= rule),
    "minimum": _holds("minimum", lambda value, rule: not _number(value) or value >= rule),
    "maximum": _holds("maximum", lambda value, rule: not _number(value) or value <= rule),
    "exclusiveMinimum": _holds("exclusiveMinimum", lambda value, rule: not _number(value) or value > rule),
}
