"""Durations as people write them: `500ms`, `30s`, `5m`, `1h30m`."""

import re
from typing import Any

import msgspec

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
LONGEST = 366 * 86400.0


class Duration(float):
    """A time span in seconds.

    Written in YAML and JSON as text with a unit, because `30` alone has been read both ways.
    """

    def __str__(self) -> str:
        if float(self) == 0.0:
            return "0s"
        parts, rest = [], round(float(self) * 1000)
        for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
            count, rest = divmod(rest, size)
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts)

    __repr__ = __str__


def parse_duration(text: object) -> Duration:
    """The duration written as `text`.

    Raises:
        ValueError: not a number with a unit, or longer than a year.
    """
    if isinstance(text, Duration):
        return text
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write a number with a unit, such as 500ms, 30s, 5m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST:
        raise ValueError(f"{text!r} is longer than a year")
    return Duration(seconds)


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
    """The other way round."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(type(value))
