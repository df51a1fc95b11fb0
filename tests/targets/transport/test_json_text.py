import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.targets.transport.json_text import NotJson, parse, put

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(
    document=st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES)),
    outer=st.text(),
    inner=st.text(),
    value=VALUES,
    indent=st.none() | st.integers(0, 3) | st.just("\t"),
    ascii_only=st.booleans(),
)
def test_only_the_named_value_changes_and_the_order_stays(
    *, document: dict[str, Any], outer: str, inner: str, value: Any, indent: Any, ascii_only: bool
) -> None:
    document.setdefault(outer, {})
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    document[outer][inner] = value
    changed = parse(put(text, (outer, inner), value))
    assert changed == document
    assert json.dumps(changed) == json.dumps(document)  # the order of the keys, too


def test_every_other_byte_stays() -> None:
    text = '{ "a" : 1.0 ,\r\n\t"caf\\u00e9":  {"state" : "ON"}, "ü": 1e3}\n\n'
    assert put(text, ("café", "state"), "OFF") == text.replace('"ON"', '"OFF"')


def test_a_new_member_is_spaced_like_its_neighbours() -> None:
    assert put('{\n  "a": {\n    "x": 1\n  }\n}', ("a", "y"), 2) == '{\n  "a": {\n    "x": 1,\n    "y": 2\n  }\n}'
    assert put('{"a":{}}', ("a", "y"), 2) == '{"a":{"y": 2}}'


@pytest.mark.parametrize(
    "text,said",
    [
        ('{"a": 1,\n  // why\n  "b": 2}', "2:3: JSON has no comments"),
        ("# flags\n{}", "1:1: JSON has no comments"),
        ('{"a": 1,\n "b" 2}', "2:6: Expecting ':' delimiter"),
        ('{"a": 1} {}', "1:10: Extra data"),
        ("", "1:1: Expecting value"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' stands twice in one object"),
        ("[NaN]", "NaN is not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(NotJson) as refused:
        parse(text)
    assert str(refused.value) == said
