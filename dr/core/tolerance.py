"""What a health check accepts: a scalar, a range, a set of values, or a pattern.

In YAML: `200`; `{range: [0, 5]}`; `{one_of: [200, 204]}`; `{regex: "^Welcome"}`. The same four forms as the
steady-state tolerances of the Open Chaos experiment format, which people of this field know.
"""

import math
import re
from typing import Annotated

import msgspec

Scalar = str | int | float | bool


class Accepts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of the three is given.

    One type, because untagged unions of mappings cannot be told apart.
    """

    range: tuple[float, float] | None = None
    """Lowest and highest accepted number, both included."""
    one_of: Annotated[tuple[Scalar, ...], msgspec.Meta(min_length=1)] | None = None
    regex: str | None = None
    """A pattern that must be found in the text (`re.search`)."""

    def __post_init__(self) -> None:
        given = [name for name in ("range", "one_of", "regex") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of range, one_of, regex")
        if self.range is not None and not all(map(math.isfinite, self.range)):
            raise ValueError("a range has two numbers as its ends")  # JSON, and so the plan, has no infinity
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError(f"a range goes from low to high, not from {self.range[0]:g} to {self.range[1]:g}")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"{self.regex!r} is not a regular expression: {error}") from None


Tolerance = Accepts | Scalar


def accepts(tolerance: Tolerance, value: object) -> bool:
    """Whether `value` is within the tolerance. A value of another type than expected is not."""
    if not isinstance(tolerance, Accepts):
        return _same(tolerance, value)
    if tolerance.range is not None:
        low, high = tolerance.range
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if tolerance.one_of is not None:
        return any(_same(item, value) for item in tolerance.one_of)
    assert tolerance.regex is not None
    return isinstance(value, str) and re.search(tolerance.regex, value) is not None


def say(tolerance: Tolerance) -> str:
    """The tolerance in words, for plans and findings."""
    if not isinstance(tolerance, Accepts):
        return _say_scalar(tolerance)
    if tolerance.range is not None:
        return f"from {tolerance.range[0]:g} to {tolerance.range[1]:g}"
    if tolerance.one_of is not None:
        return "one of " + ", ".join(map(_say_scalar, tolerance.one_of))
    return f"matching /{tolerance.regex}/"


def _say_scalar(value: Scalar) -> str:
    """As it is written in YAML, a text in quotes."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _same(expected: Scalar, value: object) -> bool:
    """Equal, and a boolean only to a boolean: Python holds True == 1, an operator does not."""
    return isinstance(expected, bool) == isinstance(value, bool) and expected == value
