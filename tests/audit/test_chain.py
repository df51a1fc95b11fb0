"""Attacks on a chain of lines, and what is said about them."""

from hashlib import sha256
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.audit import chain
from dr.audit.chain import EMPTY, Broken, Checkpoint, Head
from dr.core.events import GENESIS


def chained(contents: list[str]) -> tuple[list[bytes], list[Head]]:
    """Lines with those contents, and the heads after 0, 1, 2 ... of them."""
    lines, heads = [], [EMPTY]
    for content in contents:
        lines.append(
            b'{"prev":"%b","seq":%d,"content":"%b"}' % (heads[-1].hash.encode(), heads[-1].size, content.encode())
        )
        heads.append(chain.link(heads[-1], lines[-1]))
    return lines, heads


def marks(heads: list[Head], *sizes: int) -> list[Checkpoint]:
    return [Checkpoint(run="r", size=size, head=heads[size].hash, at="now", actor="ada") for size in sizes]


LINES, HEADS = chained([f"entry number {number}" for number in range(30)])
END = marks(HEADS, 30)


@given(st.lists(st.text(st.characters(exclude_characters='"\\\n', codec="utf-8"))), st.data())
def test_a_chain_verifies_whole_and_in_two_parts(contents: list[str], data: st.DataObject) -> None:
    lines, heads = chained(contents)
    at = data.draw(st.integers(0, len(lines)))
    sizes = data.draw(st.lists(st.integers(0, len(lines))))

    assert chain.check(lines, checkpoints=marks(heads, *sizes)) == heads[-1]
    assert chain.check(lines[at:], heads[at], checkpoints=marks(heads, *sizes)) == heads[-1]


def test_the_head_is_the_hash_of_the_raw_line_and_nothing_else() -> None:
    assert HEADS[0] == Head(0, GENESIS)
    assert HEADS[1] == Head(1, sha256(LINES[0]).hexdigest())


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_every_byte_is_seen_and_its_entry_named(bit: int) -> None:
    for number, line in enumerate(LINES):
        for at in range(len(line)):
            flipped = bytearray(line)
            flipped[at] ^= 1 << bit
            with pytest.raises(Broken) as broken:
                chain.check([*LINES[:number], bytes(flipped), *LINES[number + 1 :]], checkpoints=END)
            named_itself = broken.value.seq == number
            named_by_the_next = broken.value.seq == number + 1 and f"follow entry {number}:" in broken.value.why
            assert named_itself or named_by_the_next


def test_every_entry_that_is_taken_out_is_seen() -> None:
    for number in range(30):
        with pytest.raises(Broken) as broken:
            chain.check(LINES[:number] + LINES[number + 1 :], checkpoints=END)
        assert broken.value.seq == number if number < 29 else "tail was cut off" in broken.value.why


def test_every_two_entries_that_are_taken_out_are_seen() -> None:
    for one, two in combinations(range(30), 2):
        left = [line for number, line in enumerate(LINES) if number not in (one, two)]
        with pytest.raises(Broken):
            chain.check(left, checkpoints=END)


def test_every_two_entries_that_changed_places_are_seen() -> None:
    for one, two in combinations(range(30), 2):
        swapped = list(LINES)
        swapped[one], swapped[two] = swapped[two], swapped[one]
        with pytest.raises(Broken) as broken:
            chain.check(swapped)
        assert broken.value.seq == one


def test_every_entry_that_is_there_twice_is_seen() -> None:
    for number in range(30):
        with pytest.raises(Broken) as broken:
            chain.check([*LINES[: number + 1], *LINES[number:]])
        assert broken.value.seq == number + 1


def test_a_tail_that_was_cut_off_behind_a_checkpoint_is_seen_at_every_length() -> None:
    for left in range(30):
        with pytest.raises(Broken, match=rf"entry {left}: the journal ends here, but a checkpoint knows 30 entries"):
            chain.check(LINES[:left], checkpoints=END)


def test_a_beginning_that_is_missing_is_seen() -> None:
    with pytest.raises(Broken, match=r"entry 0: it is not the first entry of a journal: what was before it is missing"):
        chain.check(LINES[1:])


def test_a_chain_that_was_made_anew_after_a_change_is_seen_at_the_first_checkpoint_behind_it() -> None:
    forged, _ = chained([f"entry number {number if number != 12 else 'twelve'}" for number in range(30)])
    assert chain.check(forged).size == 30

    with pytest.raises(Broken, match=r"entry 19: a checkpoint holds another hash of it: this entry or one before it"):
        chain.check(forged, checkpoints=marks(HEADS, 5, 20, 30))


def test_two_checkpoints_that_contradict_each_other_are_seen() -> None:
    other = Checkpoint(run="r", size=10, head="f" * 64, at="now", actor="mallory")
    with pytest.raises(Broken, match="entry 9: a checkpoint"):
        chain.check(LINES, checkpoints=[*marks(HEADS, 10), other])


def test_a_checkpoint_of_nothing_must_be_that_of_nothing() -> None:
    assert chain.check(LINES, checkpoints=marks(HEADS, 0)) == HEADS[30]
    with pytest.raises(Broken):
        chain.check(LINES, checkpoints=[Checkpoint(run="r", size=0, head="f" * 64, at="now", actor="mallory")])


@pytest.mark.parametrize(
    "line, why",
    [
        (b"", "it is not an entry"),
        (b"\x00" * 80, "it is not an entry"),
        (b'{"prev":"%b","seq":04,' % HEADS[4].hash.encode(), "its number is not the next one"),
        (b'{"prev":"%b","seq":5,' % HEADS[4].hash.encode(), "its number is not the next one"),
        (b'{"prev":"%b", "seq":4,' % HEADS[4].hash.encode(), "its number is not the next one"),
        (b'{"seq":4,"prev":"%b",' % HEADS[4].hash.encode(), "it is not an entry"),
        (b'{"prev":"%b","seq":4,' % HEADS[4].hash.upper().encode(), "it does not follow entry 3"),
    ],
)
def test_a_line_of_another_form_is_refused_in_words(line: bytes, why: str) -> None:
    with pytest.raises(Broken) as broken:
        chain.check([*LINES[:4], line])
    assert broken.value.seq == 4
    assert broken.value.why.startswith(why)


@given(st.binary() | st.lists(st.sampled_from([b"\0", b"\n", b"a", LINES[0]])).map(b"".join), st.integers(1, 40))
def test_lines_are_the_same_whatever_the_blocks_they_are_read_in(content: bytes, size: int) -> None:
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    tail: list[bytes] = []
    lines = list(chain.split(blocks, tail))

    assert lines == list(chain.split([content], []))
    assert b"\n".join([*lines, *(tail or [b""])]) == content
    assert all(b"\n" not in line for line in lines)
    assert all(b"\n" not in text or b"\0" in text for text in tail)
