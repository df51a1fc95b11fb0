from dr.demo import plot


def test_a_share_is_as_high_as_it_is_large() -> None:
    picture = plot.lines([0.0, 0.5, 1.0], {})
    assert [line[7:].ljust(3) for line in picture[:6]] == ["  █", "  █", "  █", " ██", " ██", " ██"]


def test_little_is_seen_and_nothing_is_not() -> None:
    lowest = plot.lines([0.0, 0.001], {})[5]
    assert lowest == "   0% │ ▁"


def test_marks_in_one_column_stand_side_by_side_in_their_order() -> None:
    marks = {"released": 1, "alarm": 1, "disabled": 2}
    axis, letters = plot.lines([0.0] * 3, marks)[-2:]
    assert letters[7:] == " abc"
    assert axis == "      └─┴┴┴"
    assert plot.legend(marks) == [
        "a released",
        "b alarm",
        "c disabled",
    ]


def test_a_terminal_that_knows_ascii_only_gets_nothing_else() -> None:
    assert "".join(plot.lines([0.0, 0.3, 1.0], {"alarm": 1}, ascii_only=True)).isascii()
