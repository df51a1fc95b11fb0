"""Durations as people write them: `500ms`, `30s`, `5m`, `1h30m`."""

import functools
import re
from typing import Any

import msgspec

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
LONGEST = 366 * _UNITS["d"]
"""Milliseconds (safety rule 15)."""
ROUNDING = 0.001
"""Milliseconds that a number such as 0.1 may be off in binary."""


class Duration(float):
    """A time span in seconds, to the millisecond.

    Written in YAML and JSON as text with a unit, because `30` alone has been read both ways.
    """

    def __str__(self) -> str:
        return _text(float(self))

    __repr__ = __str__


@functools.lru_cache(maxsize=256)  # a plan of 1,000 steps holds 4,000 durations, and a handful of different ones
def _text(seconds: float) -> str:
    if seconds == 0.0:
        return "0s"
    parts, rest = [], round(seconds * 1000)
    for unit in reversed(_UNITS):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_duration(text: object) -> Duration:
    """The duration written as `text`.

    Raises:
        ValueError: not a number with a unit, finer than a millisecond, or longer than a year.
    """
    if isinstance(text, Duration):
        return text
    if not isinstance(text, str):
        raise _no_duration(text)
    return _parsed(text)


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Duration:
    if not _WHOLE.fullmatch(text):
        raise _no_duration(text)
    milliseconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if milliseconds > LONGEST:
        raise ValueError(f"{text!r} is longer than a year")
    whole = round(milliseconds)
    if abs(whole - milliseconds) > ROUNDING:
        raise ValueError(f"{text!r} is finer than a millisecond")
    return Duration(whole / 1000)


def _no_duration(value: object) -> ValueError:
    return ValueError(f"{value!r} is not a duration; write a number with a unit, such as 500ms, 30s, 5m or 1h30m")


def duration(text: str) -> Duration:
    """A default for a field of type `Duration`. As a factory: msgspec's JSON Schema cannot print the value itself."""
    value = parse_duration(text)
    field: Duration = msgspec.field(default_factory=lambda: value)
    return field


def decode_hook(kind: type, value: Any) -> Any:
    """msgspec's hook for the types it does not know: `Duration`, and `object` for free-form JSON."""
    if kind is Duration:
        return parse_duration(value)
    if kind is object:
        return value
    raise NotImplementedError(kind)


def encode_hook(value: object) -> str:
    """The other way round.

    Raises:
        TypeError: the value is no JSON.
    """
    if isinstance(value, Duration):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} is no JSON")
