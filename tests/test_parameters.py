"""What is given for a parameter is read as its type, or refused with what to type instead."""

import pytest

from dr.core.runbook import Parameter
from dr.errors import UsageError
from dr.parameters import values_of

DECLARED = {
    "feature": Parameter(default="recommendations"),
    "age": Parameter(type="duration", default="2s"),
    "share": Parameter(type="integer", default=50, choices=(25, 50, 100)),
    "sure": Parameter(type="boolean", default=True),
    "ratio": Parameter(type="number", default=0.5),
}


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("age", "1m30s", "1m30s"), ("sure", "FALSE", False), ("ratio", "2", 2.0), ("ratio", "1e-3", 0.001),
        ("share", "50", 50),
    ],
)  # fmt: skip
def test_a_parameter_on_the_command_line_is_read_as_its_type(name: str, text: str, value: object) -> None:
    found = values_of(DECLARED, {name: text}, samples=False)[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("featur", "x", "the runbook has no parameter 'featur' (did you mean 'feature'?)"),
        ("age", "2", "the parameter 'age' is of type duration, and '2' is not"),
        ("share", "many", "the parameter 'share' is of type integer; choices: 25, 50, 100, and 'many' is not"),
        ("share", "30", "choices: 25, 50, 100, and '30' is not"),
        ("sure", "1", "the parameter 'sure' is of type boolean, and '1' is not"),
        ("ratio", "inf", "the parameter 'ratio' is of type number, and 'inf' is not"),
        ("ratio", "nan", "the parameter 'ratio' is of type number, and 'nan' is not"),
        ("ratio", "1e999", "the parameter 'ratio' is of type number"),
        ("feature", "caf\udce9", "the parameter 'feature' is of type string, and 'caf\\udce9' is not"),
    ],
)
def test_a_parameter_of_another_type_is_refused(name: str, text: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        values_of(DECLARED, {name: text}, samples=False)
    assert told in refused.value.what
    assert refused.value.stands == "nothing was touched"


def test_a_parameter_that_is_missing_is_told_with_what_to_type() -> None:
    declared = {**DECLARED, "feature": Parameter(description="which feature floods")}
    with pytest.raises(UsageError, match=r"the parameter 'feature' \(which feature floods\) is missing") as refused:
        values_of(declared, {}, samples=False)
    assert refused.value.hint == "add -p feature=VALUE"
