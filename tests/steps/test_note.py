import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.note import Note
from tests.here import World


def test_a_note_is_in_place_as_soon_as_its_intent_is_recorded() -> None:
    note = Note(text="support was told")
    with World({}).look() as here:
        assert note.observe(here) == NotInPlace()
    with World({}).act() as here:
        assert note.apply(here) == {}
        assert note.observe(here) == InPlace()


def test_a_note_needs_no_target_and_is_read_in_the_plan() -> None:
    assert Note(text="support was told").targets() == ()
    assert Note(text="support was told").summary() == "Note in the journal: support was told"


@pytest.mark.parametrize("text", ["", "x" * 2001])
def test_an_empty_or_endless_note_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"text": text}, Note)
