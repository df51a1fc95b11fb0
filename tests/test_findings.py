"""What is wrong with a value, said in the words of a person who writes YAML."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.duration import Duration, decode_hook
from dr.core.runbook import Name, Runbook, Stage, StepSpec
from dr.core.tolerance import Tolerance
from dr.findings import MOST, Finding, Place, did_you_mean, explain, wrong
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES


class Cat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="cat"):
    lives: Annotated[int, msgspec.Meta(ge=1, le=9)] = 9


class Dog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="dog"):
    name: str


class Zoo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"open_": "open"}):
    city: Annotated[str, msgspec.Meta(min_length=1, max_length=5)]
    open_: bool = False
    size: Literal["small", "large"] = "small"
    animals: tuple[Cat | Dog, ...] = ()
    keepers: Mapping[Name, int] = {}
    closed_for: Duration = Duration(0)
    ticket: Literal["free"] | dict[str, int] | None = None
    corners: tuple[float, float] | None = None
    rule: Tolerance = 1

    def __post_init__(self) -> None:
        if self.size == "large" and not self.animals:
            raise ValueError("a large zoo has animals")


NAME_RULE = "a name is made of lower-case letters, digits and hyphens, and begins with a letter"
DURATION_RULE = "write a number with a unit, such as 500ms, 30s, 5m or 1h30m"


@pytest.mark.parametrize(
    "value, findings",
    [
        (7, [((), "expected a mapping, got a whole number")]),
        ([], [((), "expected a mapping, got a list")]),
        ({"city": None}, [(("city",), "expected text, got nothing")]),
        ({"city": ""}, [(("city",), "expected text of length >= 1")]),
        ({"city": "London"}, [(("city",), "expected text of length <= 5")]),
        ({"opne": True}, [(("opne",), "unknown field 'opne' (did you mean 'open'?)")]),
        ({"open": "yes"}, [(("open",), "expected true or false, got text")]),
        ({"size": "huge"}, [(("size",), "unknown value 'huge' (known: large, small)")]),
        ({"size": 3}, [(("size",), "expected text, got a whole number")]),
        ({"size": "large"}, [((), "a large zoo has animals")]),
        ({"animals": {}}, [(("animals",), "expected a list, got a mapping")]),
        ({"animals": [{"is": "cat", "lives": 10}]}, [(("animals", 0, "lives"), "expected a whole number <= 9")]),
        ({"animals": [{"is": "dog"}]}, [(("animals", 0), "the field 'name' is missing")]),
        ({"animals": [{"is": "cow"}]}, [(("animals", 0, "is"), "unknown is 'cow' (known: cat, dog)")]),
        ({"animals": [{}]}, [(("animals", 0), "the field 'is' is missing (known: cat, dog)")]),
        ({"animals": ["cat"]}, [(("animals", 0), "expected a mapping, got text")]),
        ({"keepers": {"ada": "1"}}, [(("keepers", "ada"), "expected a whole number, got text")]),
        ({"keepers": {"A da": 1}}, [(("keepers", "A da"), f"'A da': {NAME_RULE}")]),
        ({"closed_for": 5}, [(("closed_for",), f"5 is not a duration; {DURATION_RULE}")]),
        ({"ticket": "fre"}, [(("ticket",), "unknown value 'fre' (did you mean 'free'?)")]),
        ({"ticket": {"adult": "5"}}, [(("ticket", "adult"), "expected a whole number, got text")]),
        ({"ticket": 5}, [(("ticket",), "expected text or a mapping or nothing, got a whole number")]),
        ({"corners": [1]}, [(("corners",), "expected a list of length 2, got 1")]),
        ({"corners": 1}, [(("corners",), "expected a list or nothing, got a whole number")]),
        ({"rule": {"rang": [0, 1]}}, [(("rule", "rang"), "unknown field 'rang' (did you mean 'range'?)")]),
        ({"rule": {"range": [5, 1]}}, [(("rule",), "a range goes from low to high, not from 5 to 1")]),
    ],
)
def test_what_is_wrong_is_found_where_it_is(value: Any, findings: list[tuple[Any, str]]) -> None:
    zoo = {"city": "Rome", **value} if isinstance(value, dict) else value
    assert [(item.path, item.what) for item in explain(zoo, Zoo)] == findings


def test_everything_that_is_wrong_is_found_at_once() -> None:
    zoo = {"open": 1, "animals": [{"is": "cat"}, {"is": "dog", "name": 1}], "tikcet": "free"}
    assert [(item.path, item.what) for item in explain(zoo, Zoo)] == [
        (("tikcet",), "unknown field 'tikcet' (did you mean 'ticket'?)"),
        ((), "the field 'city' is missing"),
        (("open",), "expected true or false, got a whole number"),
        (("animals", 1, "name"), "expected text, got a whole number"),
    ]


def test_what_is_right_has_nothing_to_explain() -> None:
    assert explain({"city": "Rome"}, Zoo) == []


def test_a_finding_about_a_key_points_at_the_key() -> None:
    assert explain({"city": "Rome", "x": 1}, Zoo, ("zoo",))[0] == Finding(
        ("zoo", "x"), "unknown field 'x'", of_key=True
    )


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_characters="`"), max_size=4)
    | st.sampled_from(["cat", "free", "5s", "note"])
)
STRUCTS: tuple[type[msgspec.Struct], ...] = (Zoo, Runbook, StepSpec, *CATALOGUE.values())
FIELDS = sorted(
    {field.encode_name for kind in STRUCTS for field in msgspec.structs.fields(kind)} | {"is", "probe", "x"}
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
KINDS: list[Any] = [Zoo, Runbook, StepSpec, Stage, Tolerance, *CATALOGUE.values(), *TARGET_TYPES.values()]


@given(VALUES, st.sampled_from(KINDS))
def test_what_msgspec_refuses_is_explained_and_what_it_takes_is_not(value: object, kind: Any) -> None:
    """The fast judge and the one that explains agree, or a wrong runbook would be refused without a word."""
    try:
        msgspec.convert(value, kind, dec_hook=decode_hook)
    except msgspec.ValidationError:
        refused = True
    else:
        refused = False
    findings = explain(value, kind)
    assert bool(findings) == refused
    assert all("`" not in item.what for item in findings), "words of a programmer"


@pytest.mark.parametrize(
    "name, known, words",
    [
        ("stoer", ["store", "flag"], " (did you mean 'store'?)"),
        ("x", ["store", "flag"], " (known: flag, store)"),
        ("x", [f"name-{n}" for n in range(9)], ""),
        ("x", [], ""),
        (7, ["seven"], " (known: seven)"),
    ],
)
def test_what_was_probably_meant_is_suggested(name: object, known: list[str], words: str) -> None:
    assert did_you_mean(name, known) == words


def test_an_error_names_each_finding_with_its_place_up_to_a_limit() -> None:
    """Safety rule 15."""
    placed: list[tuple[Place | None, str]] = [(Place(3, 5), "x is not y"), (None, "it is empty")]
    assert wrong("r.yaml", placed).what == "r.yaml:3:5: x is not y\nr.yaml: it is empty"
    many = wrong("r.yaml", [(Place(line, 1), "no") for line in range(1, MOST + 31)]).what.split("\n")
    assert len(many) == MOST + 1
    assert many[-1] == "and 30 more"
