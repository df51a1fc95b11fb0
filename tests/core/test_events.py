"""The codec of entries, and which parts of an event somebody said."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core import events as e

KINDS: tuple[type[msgspec.Struct], ...] = get_args(e.Event)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EVIDENCE = st.dictionaries(TEXT, JSON, max_size=3)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is Mapping:
        return EVIDENCE
    if get_origin(kind) is tuple:
        return st.lists(of_type(get_args(kind)[0]), max_size=4).map(tuple)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT, int: st.integers(0, 2**31), bool: st.booleans(), str | None: st.none() | TEXT,
    }  # fmt: skip
    return known[kind]


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: of_type(field) for name, field in get_type_hints(kind).items()})


EVENTS = st.one_of([structs(kind) for kind in KINDS])
ENTRIES = st.builds(e.Entry, prev=TEXT, seq=st.integers(0, 2**40), run=TEXT, at=TEXT, actor=TEXT, event=EVENTS)


def test_every_kind_of_event_has_a_name_of_its_own() -> None:
    names = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(names)) == len(KINDS) == 22


@given(ENTRIES)
def test_an_entry_is_read_back_as_it_was_written(entry: e.Entry) -> None:
    assert e.decode_entry(e.encode_entry(entry)) == entry


@given(ENTRIES)
def test_the_line_of_an_entry_is_canonical(entry: e.Entry) -> None:
    """One entry, one line; the chain's two fields first, so that it is verified without parsing JSON."""
    line = e.encode_entry(entry)
    assert e.encode_entry(e.decode_entry(line)) == line
    assert b"\n" not in line
    assert line.startswith(b'{"prev":%b,"seq":%d,' % (msgspec.json.encode(entry.prev), entry.seq))


@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"step-dreamt","step":"a"}',
        b'{"step":"a"}',
        b'{"type":"step-done","step":"a"}',
        b'{"type":"step-done","step":1,"attempt":1}',
        b'{"type":"operator-answered","choice":"whatever"}',
        b'{"type":"run-started","plan":"","runbook":"","environment":"","mode":"graceful","format":2}',
        b"[]",
    ],
)
def test_a_line_of_another_format_is_refused(event: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        e.decode_entry(b'{"prev":"","seq":0,"run":"r","at":"","actor":"","event":%b}' % event)


# What somebody said, and what is a name

NAMES = {
    *(
        "about",
        "against",
        "attempt",
        "caller",
        "choice",
        "choices",
        "copy",
        "detected",
        "entry",
        "environment",
        "finish",
    ),
    *("format", "holder", "host", "mode", "not_before", "plan", "question", "runbook", "service", "signer", "step"),
    *("torn_bytes", "torn_sha256", "version", "well"),
}
SAID = {"because", "before", "claim", "comment", "error", "evidence", "reason", "text", "unsigned", "why"}


@pytest.mark.parametrize("kind", [*KINDS, e.Question])
def test_every_field_is_either_a_name_or_what_somebody_said(kind: type[msgspec.Struct]) -> None:
    """Safety rule 13. Whoever adds a field has to say which, or a secret in it would not be masked."""
    assert set(kind.__struct_fields__) <= NAMES | SAID


def quoted(value: Any) -> Any:
    """The value with each text in it quoted, keys of mappings included."""
    match value:
        case str():
            return f"<{value}>"
        case dict():
            return {quoted(key): quoted(item) for key, item in value.items()}
        case list():
            return [quoted(item) for item in value]
        case _:
            return value


@given(EVENTS)
def test_each_text_that_somebody_said_can_be_changed_and_no_name_is(event: e.Event) -> None:
    """Safety rules 13 and 15."""
    changed = e.map_text(event, lambda _: "TEXT", quoted)
    assert type(changed) is type(event)
    for name in event.__struct_fields__:
        before, after = getattr(event, name), getattr(changed, name)
        if isinstance(before, e.Question):
            assert after == msgspec.structs.replace(before, text="TEXT")
        elif name not in SAID:
            assert after == before
        elif isinstance(before, str):
            assert after == ("TEXT" if before else "")
        else:
            assert after == quoted(before)


@given(EVENTS)
def test_what_is_not_changed_stays_as_it_was(event: e.Event) -> None:
    assert e.map_text(event, str, str) == event
