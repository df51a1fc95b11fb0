"""What is wrong with a document, where, and what was probably meant.

msgspec validates in one fast pass and stops at the first error. Only when it refuses is the document walked here, to
collect every error with its path; the path becomes file:line:column.
"""

import errno
import pathlib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import msgspec

from dr.core.duration import decode_hook
from dr.core.runbook import MAX_BYTES, NAME_PATTERN
from dr.errors import RunbookWrong

Path = tuple[str | int, ...]
FEW = 8
"""Names that are listed when none of them is close to what was written."""
MOST = 20
"""Findings that are shown; more of them help nobody."""


class Finding(msgspec.Struct, frozen=True):
    """One error: where in the document, and what. `of_key` points at the key rather than its value."""

    path: Path
    what: str
    of_key: bool = False


class Place(msgspec.Struct, frozen=True):
    """A position in a file, counted from 1 as editors do."""

    line: int
    column: int


def text_of(path: pathlib.Path, hint: str = "") -> str:
    """The text of a file that a person has written; `hint` is what to do where it is not.

    Raises:
        RunbookWrong: it cannot be read, is too large, or is not UTF-8.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise wrong(name, [(None, "it is a symbolic link that leads back to itself")]) from None
        raise wrong(name, [(None, f"it cannot be read: {(error.strerror or str(error)).lower()}")], hint) from None
    if len(raw) > MAX_BYTES:
        raise wrong(name, [(None, f"it is larger than {MAX_BYTES:,} bytes; it should be a page, not a data set")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = Place(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise wrong(name, [(place, f"byte 0x{raw[error.start]:02x} is not UTF-8")]) from None


def wrong(file: str, findings: Sequence[tuple[Place | None, str]], hint: str = "") -> RunbookWrong:
    """The error that names each finding as `file:line:column: what`."""
    lines = [f"{file}:{place.line}:{place.column}: {what}" if place else f"{file}: {what}" for place, what in findings]
    if len(lines) > MOST:
        lines = [*lines[:MOST], f"and {len(lines) - MOST} more"]
    return RunbookWrong("\n".join(lines), stands="nothing was touched", hint=hint)


def did_you_mean(name: object, known: typing.Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or what there is to choose from when there are few; else nothing."""
    import difflib  # only for a mistake

    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(names)})" if 0 < len(names) <= FEW else ""


def explain(value: object, kind: Any, path: Path = ()) -> list[Finding]:
    """Everything that keeps `value` from being a `kind`; empty when it is one."""
    found = list(_inside(value, kind, path))
    if found:
        return found
    try:
        msgspec.convert(value, kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        what = _plain(str(error))
        field = what.partition(": ")[0]  # what a type checks by itself begins with the field that is wrong
        return [Finding((*path, field) if isinstance(value, dict) and field in value else path, what)]
    return []


def _inside(value: object, kind: Any, path: Path) -> Iterator[Finding]:
    """Findings about the parts of a mapping or list; nothing for a value without parts."""
    kind = _meant(value, _bare(kind))
    origin = typing.get_origin(kind)
    yield from _none_of_them(value, kind, path)
    if isinstance(value, dict) and _is_struct(kind):
        yield from _struct(value, kind, path)
    elif isinstance(value, dict) and origin in (dict, Mapping):
        for key, item in value.items():
            key_type, item_type = typing.get_args(kind)
            if explain(key, key_type):
                yield Finding((*path, key), f"{key!r}: {explain(key, key_type)[0].what}", of_key=True)
            yield from explain(item, item_type, (*path, key))
    elif isinstance(value, list) and origin in (tuple, list):
        inner = typing.get_args(kind)
        if origin is list or inner[-1] is ...:
            for at, item in enumerate(value):
                yield from explain(item, inner[0], (*path, at))


def _none_of_them(value: object, kind: Any, path: Path) -> Iterator[Finding]:
    """A word that is none of those that may stand here, or a mapping that is none of the forms it may have."""
    members = _members(kind)
    if isinstance(value, str) and str not in members:
        words = [word for member in members if typing.get_origin(member) is Literal for word in typing.get_args(member)]
        if words and value not in words:
            yield Finding(path, f"unknown value {value!r}{did_you_mean(value, words)}")
    tagged = [item for item in members if _is_struct(item) and item.__struct_config__.tag_field]
    if isinstance(value, dict) and len(tagged) > 1:
        field, tags = tagged[0].__struct_config__.tag_field, [item.__struct_config__.tag for item in tagged]
        if field not in value:
            yield Finding(path, f"the field {field!r} is missing{did_you_mean('', tags)}")
        elif value[field] not in tags:
            yield Finding((*path, field), f"unknown {field} {value[field]!r}{did_you_mean(value[field], tags)}")


def _members(kind: Any) -> list[Any]:
    """The types of a union; of another type, itself."""
    is_union = typing.get_origin(kind) in (Union, types.UnionType)
    return [_bare(member) for member in typing.get_args(kind)] if is_union else [kind]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct(value: dict[Any, object], kind: type[msgspec.Struct], path: Path) -> Iterator[Finding]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for key in value:
        if key != tag and key not in fields:
            yield Finding((*path, key), f"unknown field {key!r}{did_you_mean(key, fields)}", of_key=True)
    for name, field in fields.items():
        if name in value:
            yield from explain(value[name], hints[field.name], (*path, name))
        elif field.required:
            yield Finding(path, f"the field {name!r} is missing")


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _meant(value: object, kind: Any) -> Any:
    """The member of a union that `value` was probably meant to be; the union itself when that cannot be told."""
    members = _members(kind)
    if len(members) == 1:
        return kind
    if isinstance(value, dict):
        structs = [item for item in members if _is_struct(item)]
        tagged = [item for item in structs if item.__struct_config__.tag == value.get(item.__struct_config__.tag_field)]
        fits = tagged or (structs if len(structs) == 1 else [])
        fits = fits or [item for item in members if typing.get_origin(item) is dict]
    else:
        fits = [item for item in members if isinstance(value, list) and typing.get_origin(item) in (tuple, list)]
    return fits[0] if fits else kind


_AT = re.compile(r" - at (?:the key in )?`\$.*`$")
_PYTHON = {
    "`int`": "a whole number",
    "`str`": "text",
    "`float`": "a number",
    "`bool`": "true or false",
    "`object`": "a mapping",
}
_PYTHON |= {"`array`": "a list", "`null`": "nothing"}


def _plain(message: str) -> str:
    """msgspec's message in the words of a person who writes YAML."""
    text = _AT.sub("", message)
    if NAME_PATTERN in text:
        return "a name is made of lower-case letters, digits and hyphens, and begins with a letter"
    for name, words in _PYTHON.items():
        text = text.replace(name, words)
    text = re.sub(r"`([^`|]+(?: \| [^`|]+)+)`", lambda match: _either(match[1]), text)
    return text[:1].lower() + text[1:]


def _either(names: str) -> str:
    return " or ".join(_PYTHON.get(f"`{name}`", name) for name in names.split(" | "))
