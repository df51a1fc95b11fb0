import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.duration import Duration, decode_hook, encode_hook, parse_duration


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0s", 0),
        ("1ms", 0.001),
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("366d", 31622400),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        30,
        1.5,
        None,
        True,
        "s",
        "-1s",
        "1 s",
        "1s ",
        "1S",
        "1sec",
        "1m-1s",
        "1,5s",
        "NaNs",
        "1e3s",
        "inf",
        "5m!",
    ],
)
def test_anything_else_is_refused_with_an_example_of_how_to_write_it(text: object) -> None:
    with pytest.raises(
        ValueError, match="is not a duration; write a number with a unit, such as 500ms, 30s, 5m or 1h30m"
    ):
        parse_duration(text)


@pytest.mark.parametrize("text", ["367d", "9999999h", "9" * 400 + "d"])
def test_a_duration_has_a_limit(text: str) -> None:
    """Safety rule 15."""
    with pytest.raises(ValueError, match="is longer than a year"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0.1ms", "1.5ms", "0.0004s", "1.00001m"])
def test_what_is_finer_than_a_millisecond_is_refused(text: str) -> None:
    """It could not be written down again, and a plan that is stored must be the plan that is run."""
    with pytest.raises(ValueError, match="is finer than a millisecond"):
        parse_duration(text)


@given(st.integers(0, 366 * 86_400_000))
def test_a_duration_is_written_and_read_back_to_the_millisecond(milliseconds: int) -> None:
    duration = Duration(milliseconds / 1000)
    assert parse_duration(str(duration)) == duration
    assert parse_duration(f"{milliseconds}ms") == duration


@pytest.mark.parametrize(
    "seconds, text", [(0, "0s"), (0.25, "250ms"), (90, "1m30s"), (86400, "1d"), (3661.001, "1h1m1s1ms")]
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert str(Duration(seconds)) == repr(Duration(seconds)) == text


def test_a_duration_that_was_read_is_not_read_again() -> None:
    duration = Duration(7)
    assert parse_duration(duration) is duration


def test_the_hooks_know_durations_and_free_form_json_and_nothing_else() -> None:
    assert decode_hook(Duration, "5s") == 5
    assert decode_hook(object, [1]) == [1]
    assert encode_hook(Duration(5)) == "5s"
    with pytest.raises(NotImplementedError):
        decode_hook(set, [1])
    with pytest.raises(TypeError, match="a value of type set is no JSON"):
        encode_hook({1})
    with pytest.raises(msgspec.ValidationError, match="is not a duration"):
        msgspec.convert("soon", Duration, dec_hook=decode_hook)
