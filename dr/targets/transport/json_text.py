"""Reads a JSON text strictly, and changes one value of it while every other byte stays as it was.

Parsing and dumping again was rejected: it rewrites the whole file of somebody else (indentation, escapes, `1.0`), and a
reviewer of the change could no longer see that only one flag was touched.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, NoReturn

_SPACE: Final = re.compile(r"[ \t\r\n]*")


class NotJson(ValueError):
    """The text is not JSON; the message begins with line and column where that is known."""


def parse(text: str) -> object:
    """The value of the text. Stricter than `json.loads`: no NaN, and no key twice, of which readers take either.

    Raises:
        NotJson
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = "JSON has no comments" if text.startswith(("//", "/*", "#"), error.pos) else error.msg
        raise NotJson(f"{error.lineno}:{error.colno}: {reason}") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None


def put(text: str, path: tuple[str, ...], value: object) -> str:
    """The text with `value` at `path`. The last key is added to its object if it is missing.

    `text` has been parsed before, and the objects on the way are known to be there.
    """
    start = _after_space(text, 0)
    for key in path[:-1]:
        start, _ = _members(text, start)[key]
    members = _members(text, start)
    written = json.dumps(value, ensure_ascii=False)
    if path[-1] in members:
        begin, end = members[path[-1]]
        return text[:begin] + written + text[end:]
    return _append(text, start, json.dumps(path[-1], ensure_ascii=False), written)


def _append(text: str, start: int, key: str, written: str) -> str:
    """Add a member at the end of the object that starts at `start`, spaced like its last one."""
    last = max(_keys(text, start), default=None)
    if last is None:
        return f"{text[: start + 1]}{key}: {written}{text[start + 1 :]}"
    key_start, end = last
    space = text[_before_space(text, key_start) : key_start]
    return f"{text[:end]},{space or ' '}{key}: {written}{text[end:]}"


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Key to (start, end) of its value, of the object that starts at `start`."""
    return {key: (begin, end) for key, _, begin, end in _scan(text, start)}


def _keys(text: str, start: int) -> Iterator[tuple[int, int]]:
    """(start of the key, end of the value) of each member."""
    return ((key_start, end) for _, key_start, _, end in _scan(text, start))


def _scan(text: str, start: int) -> Iterator[tuple[str, int, int, int]]:
    """Key, start of the key, start and end of the value, of each member."""
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key, colon = _DECODER.raw_decode(text, at)
        begin = _after_space(text, _after_space(text, colon) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        yield key, at, begin, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _before_space(text: str, at: int) -> int:
    return len(text[:at].rstrip(" \t\r\n"))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotJson(f"the key {twice!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
