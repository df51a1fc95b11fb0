"""SSH's wire format, against values from its own specification (RFC 4251, section 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.audit.wire import Malformed, Reader, mpint, string, uint32


@pytest.mark.parametrize(
    "value, raw",
    [
        (0x9A378F9B2E332A7, "00000008 09a378f9b2e332a7"),
        (0x80, "00000002 0080"),
        (1, "00000001 01"),
    ],
)
def test_a_number_is_written_as_the_specification_shows(value: int, raw: str) -> None:
    assert mpint(value) == bytes.fromhex(raw)


@given(st.lists(st.binary()), st.integers(0, 2**32 - 1), st.integers(0))
def test_what_is_written_is_read_back(strings: list[bytes], small: int, large: int) -> None:
    reader = Reader(b"".join(map(string, strings)) + uint32(small) + mpint(large))
    assert [reader.string() for _ in strings] == strings
    assert (reader.uint32(), reader.number()) == (small, large)
    reader.end()


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    reader = Reader(raw)
    whole = len(raw) >= 4 and len(raw) >= 4 + int.from_bytes(raw[:4], "big")
    try:
        read = reader.string()
    except Malformed:
        assert not whole
    else:
        assert whole
        assert raw.startswith(string(read))


def test_a_length_that_promises_too_much_is_refused() -> None:
    with pytest.raises(Malformed, match="cut off"):
        Reader(uint32(5) + b"four").string()


def test_something_behind_the_end_is_refused() -> None:
    reader = Reader(string(b"a") + b"\0")
    reader.string()
    with pytest.raises(Malformed, match="follows its end"):
        reader.end()


def test_a_name_is_plain_ascii() -> None:
    assert Reader(string(b"ssh-ed25519")).text() == "ssh-ed25519"
    with pytest.raises(Malformed, match="ASCII"):
        Reader(string("ß".encode())).text()
