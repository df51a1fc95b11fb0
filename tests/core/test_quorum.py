import msgspec
import pytest

from dr.core.quorum import Quorum, check_quorum, needed, ours, stood


def test_all_is_as_many_as_there_are() -> None:
    assert needed("all", 7, "web") == 7


def test_some_are_named_together_with_how_many_there_are() -> None:
    assert needed("2 of 3", 3, "web") == 2
    with pytest.raises(LookupError, match="the quorum is 2 of 3, but web has 4 hosts"):
        needed("2 of 3", 4, "web")


def test_all_and_as_many_as_there_are_can_be_asked_for() -> None:
    for text in ("all", "1 of 3", "3 of 3"):
        check_quorum(text)


@pytest.mark.parametrize("text", ["4 of 3", "10 of 9"])
def test_more_than_there_are_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is more than"):
        check_quorum(text)


@pytest.mark.parametrize("text", ["0 of 3", "most", "2", "2 of", "2 of 3 ", ""])
def test_anything_else_is_no_quorum(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Quorum)


def test_a_step_answers_for_the_hosts_on_which_it_was_not_in_place_before() -> None:
    """Safety rule 5. Where nobody could look, nobody knows whose work it is."""
    before = {"in_place": ["web1"], "not_in_place": ["web2", "web3"], "unknown": ["web4"]}
    assert ours(before) == ["web2", "web3"]
    assert stood(before, "unknown") == ["web4"]
