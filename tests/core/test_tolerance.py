import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.tolerance import Accepts, Scalar, Tolerance, accepts, say

NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False, width=32)
SCALARS = st.booleans() | NUMBERS | st.text()


def read(written: object) -> Tolerance:
    """As a runbook has it."""
    tolerance: Tolerance = msgspec.convert(written, Tolerance)
    return tolerance


@given(SCALARS)
def test_a_scalar_accepts_itself(value: Scalar) -> None:
    assert accepts(value, value)


@given(SCALARS, SCALARS)
def test_a_scalar_accepts_nothing_else(tolerance: Scalar, value: Scalar) -> None:
    assert accepts(tolerance, value) == (tolerance == value and isinstance(tolerance, bool) == isinstance(value, bool))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_range_accepts_what_lies_between_its_ends_and_the_ends(first: float, second: float, value: float) -> None:
    low, high = sorted((float(first), float(second)))
    within = read({"range": [low, high]})
    assert accepts(within, low)
    assert accepts(within, high)
    assert accepts(within, value) == (low <= value <= high)


@given(st.lists(SCALARS, min_size=1, max_size=5), SCALARS)
def test_a_set_accepts_what_one_of_its_members_accepts(members: list[Scalar], value: Scalar) -> None:
    assert accepts(Accepts(one_of=tuple(members)), value) == any(accepts(member, value) for member in members)


@given(st.text(min_size=1), st.text(), st.text())
def test_a_pattern_is_found_anywhere_in_a_text(pattern: str, before: str, after: str) -> None:
    assert accepts(Accepts(regex=re.escape(pattern)), before + pattern + after)


@pytest.mark.parametrize(
    "tolerance,value",
    [
        (1, True),
        (True, 1),
        (Accepts(range=(0, 1)), True),
        (Accepts(range=(0, 5)), "3"),
        (Accepts(range=(0, 5)), math.nan),
        (Accepts(one_of=(1, 2)), True),
        (Accepts(regex="2.."), 200),
        (200, "200"),
        (0, None),
        ("None", None),
        (Accepts(regex="^Welcome$"), "Not welcome"),
    ],
)
def test_a_value_of_another_type_or_meaning_is_not_accepted(tolerance: Tolerance, value: object) -> None:
    assert not accepts(tolerance, value)


@pytest.mark.parametrize(
    "written,said",
    [
        ({}, "exactly one of range, one_of, regex"),
        ({"range": [0, 1], "regex": "x"}, "exactly one of range, one_of, regex"),
        ({"range": [5, 0]}, "from low to high, not from 5 to 0"),
        ({"range": [math.nan, 1]}, "a range has two numbers as its ends"),
        ({"range": [0, math.inf]}, "a range has two numbers as its ends"),
        ({"one_of": []}, "length >= 1"),
        ({"regex": "("}, "'\\(' is not a regular expression: missing \\)"),
        ({"between": [0, 1]}, "unknown field `between`"),
        (None, "null"),
        ([200], "array"),
    ],
)
def test_what_accepts_nothing_or_anything_is_refused(written: object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        read(written)


@pytest.mark.parametrize(
    "tolerance,words",
    [
        (200, "200"),
        ("ok", "'ok'"),
        (True, "true"),
        (Accepts(range=(0, 2.5)), "from 0 to 2.5"),
        (Accepts(one_of=(200, "ok")), "one of 200, 'ok'"),
        (Accepts(regex="^ok"), "matching /^ok/"),
    ],
)
def test_a_tolerance_is_said_in_words(tolerance: Tolerance, words: str) -> None:
    assert say(tolerance) == words


@given(st.sampled_from([{"range": [0.5, 2]}, {"one_of": [1, "a", True]}, {"regex": "a|b"}, 7, "x", False, 1.5]))
def test_a_tolerance_survives_being_stored_in_a_plan(written: object) -> None:
    tolerance = read(written)
    assert msgspec.json.decode(msgspec.json.encode(tolerance), type=Tolerance) == tolerance
