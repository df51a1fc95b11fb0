"""Reading a runbook's YAML: what becomes of it, where it stands, and what is refused."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dr.core.runbook import MAX_BYTES, MAX_DEPTH
from dr.errors import RunbookWrong
from dr.findings import Place
from dr.load import LONGEST_NUMBER, Document, read


def value_of(text: str) -> Any:
    return Document("r.yaml", text).value


def refusal(text: str) -> str:
    with pytest.raises(RunbookWrong) as refused:
        Document("r.yaml", text)
    assert refused.value.stands == "nothing was touched"
    return refused.value.what


# Values


@pytest.mark.parametrize(
    "text, value",
    [
        ("7", 7), ("-7", -7), ("+7", 7), ("007", 7), ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("tRUE", "tRUE"),
        ("1_000", "1_000"), ("0x1f", "0x1f"), ("1:30", "1:30"), ("2023-05-15", "2023-05-15"), ("+", "+"), ("..", ".."),
        ("+-1", "+-1"), (".inf", ".inf"), (".nan", ".nan"), ("'7'", "7"), ('"true"', "true"), ("! 7", "7"), ("=", "="),
        ("9" * LONGEST_NUMBER, int("9" * LONGEST_NUMBER)), ("9" * (LONGEST_NUMBER + 1), "9" * (LONGEST_NUMBER + 1)),
    ],
)  # fmt: skip
def test_a_scalar_is_typed_as_in_yaml_1_2(text: str, value: object) -> None:
    """`no` is a country and `1:30` a time: neither a boolean nor a number of base 60."""
    found = value_of(f"key: {text}\n")["key"]
    assert (found, type(found)) == (value, type(value))


def test_a_number_beyond_all_bounds_is_text() -> None:
    """An infinity could not be stored in the plan: JSON has none."""
    assert value_of("key: 1e999\n")["key"] == "1e999"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff\ufffe\uffff")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_is_yaml(value: Any) -> None:
    assert value_of(json.dumps([value], ensure_ascii=False)) == [value]


# Refusals


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "1:1: the file is empty"),
        ("---\n...\n", "1:1: the file is empty"),
        ("a: 1\nb: 2\na: 3\n", "3:1: the key 'a' is there twice"),
        ("a: {b: 1, b: 2}\n", "1:11: the key 'b' is there twice"),
        ("a: &x 1\n", "1:4: an anchor (&x); anchors and aliases are not allowed, write the value out"),
        ("a: &x [1]\n", "1:4: an anchor (&x)"),
        ("a: *x\n", "1:4: an alias (*x); aliases are not allowed"),
        ("? *x\n: 1\n", "1:3: an alias (*x)"),
        ("a: !!int '7'\n", "1:4: a tag (tag:yaml.org,2002:int); tags are not allowed"),
        ("a: !env HOME\n", "1:4: a tag (!env)"),
        ("!!map {}\n", "1:1: a tag (tag:yaml.org,2002:map)"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document; a runbook is one document"),
        ("? [a]\n: 1\n", "1:3: a list or mapping as a key; keys are text"),
        ("{a: 1}: 2\n", "1:1: a list or mapping as a key"),
        ("a:\n\t- b\n", "2:1: a tab; YAML is indented with spaces"),
        ("a: [1, 2\n", "2:1: expected ',' or ']'"),
        ("a: b: c\n", "1:5: mapping values are not allowed in this context"),
        ("a: 'x\n", "2:1: found unexpected end of stream"),
        ("a: \x07\n", "1:4: a character that YAML does not allow"),
        ("b: é\na: \x07\n", "2:4: a character that YAML does not allow"),
        (
            "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
            f"1:{MAX_DEPTH + 2}: values are nested more than {MAX_DEPTH} deep",
        ),
    ],
)
def test_what_has_no_place_in_a_runbook_is_refused_where_it_stands(text: str, told: str) -> None:
    assert refusal(text).startswith(f"r.yaml:{told}")


def test_values_may_be_nested_as_deep_as_the_limit_says() -> None:
    """Safety rule 15."""
    value_of("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    """Safety rule 15: nine lines that would be a billion values."""
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert refusal("\n".join(lines)).startswith("r.yaml:1:5: an anchor (&a0)")


@given(st.text() | st.text("ab:-?[]{},&*!|>'\"%@`#\n \t\\0", max_size=60))
@example("\ufeff")
@example("a: |\n\t")
@example("%YAML 3.0\n---\na")
@example("\x85")
@example("\U0001f525: \U0001f525")
def test_whatever_is_in_a_file_it_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(RunbookWrong):
        Document("r.yaml", text)


@given(st.binary(max_size=80))
def test_whatever_bytes_are_in_a_file_they_are_read_or_refused_in_words(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with contextlib.suppress(RunbookWrong):
        read(path)


# Files


def told(path: Path) -> str:
    with pytest.raises(RunbookWrong) as refused:
        read(path)
    return refused.value.what.removeprefix(str(path))


def test_a_file_as_large_as_the_limit_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    """Safety rule 15."""
    path = tmp_path / "r.yaml"
    path.write_text("a: 1\n#" + "x" * (MAX_BYTES - 6))
    assert read(path).value == {"a": 1}
    path.write_text("a: 1\n#" + "x" * (MAX_BYTES - 5))
    assert told(path).startswith(": it is larger than 1,000,000 bytes")


@pytest.mark.parametrize(
    "content, place",
    [(b"a: b\nc: \xff\n", "2:4"), (b"\xe9", "1:1"), ("é: ".encode() + b"\xc3(", "1:5"), (b"a: \xed\xa0\x80", "1:4")],
)
def test_the_first_byte_that_is_not_utf8_is_named_with_its_place(tmp_path: Path, content: bytes, place: str) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    assert told(tmp_path / "r.yaml").startswith(f":{place}: byte 0x")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(tmp_path / "r.yaml").value == {"a": 1}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert told(tmp_path / "loop.yaml") == ": it is a symbolic link that leads back to itself"
    assert told(tmp_path / "none.yaml") == ": it cannot be read: no such file or directory"
    assert told(tmp_path) == ": it cannot be read: is a directory"
    assert told(tmp_path / ("x" * 300)) == ": it cannot be read: file name too long"


# Places

TEXT = """\
name: x
steps:
  - id: a
    with: {flag: on, list: [1, 22]}
"""


@pytest.mark.parametrize(
    "path, value, key",
    [
        ((), (1, 1), (1, 1)),
        (("name",), (1, 7), (1, 1)),
        (("steps",), (3, 3), (2, 1)),
        (("steps", 0), (3, 5), (3, 5)),
        (("steps", 0, "id"), (3, 9), (3, 5)),
        (("steps", 0, "with", "flag"), (4, 18), (4, 12)),
        (("steps", 0, "with", "list", 1), (4, 32), (4, 32)),
        (("steps", 0, "with", "none", 3), (4, 11), (4, 5)),
        (("nowhere",), (1, 1), (1, 1)),
    ],
)
def test_a_value_and_its_key_are_found_where_they_stand(
    path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]
) -> None:
    document = Document("r.yaml", TEXT)
    assert document.place(path) == Place(*value)
    assert document.place(path, of_key=True) == Place(*key)
