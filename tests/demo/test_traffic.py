from pathlib import Path

import pytest

from dr.demo import traffic
from dr.demo.traffic import Visit


def log(path: Path, *visits: Visit, rest: str = "") -> Path:
    path.write_text(traffic.header(1000.0, 10.0) + "".join(visit.line() for visit in visits) + rest)
    return path


def test_a_visitor_is_affected_by_an_error_by_no_answer_and_by_a_late_one() -> None:
    good = Visit(0, 1000.0, "home", 200, 1.0)
    assert not good.affected
    assert Visit(0, 1000.0, "home", 503, 0.1).affected
    assert Visit(0, 1000.0, "home", None, 0.1).affected
    assert Visit(0, 1000.0, "home", 200, 1.01).affected


def test_a_visitor_who_never_got_an_answer_is_counted(tmp_path: Path) -> None:
    served = [Visit(number, 1000 + number / 10, "home", 200, 0.1) for number in (0, 1, 3, 4)]
    found = traffic.read(log(tmp_path / "log", *served))
    assert found.counted(1000.0, 1000.5) == (1, 5)
    assert found.share(1000.0, 1000.5) == pytest.approx(0.2)


def test_visitors_are_counted_where_they_were_due_and_once(tmp_path: Path) -> None:
    served = [Visit(number, 1000 + number / 10, "home", 200, 0.1) for number in range(10)]
    found = traffic.read(log(tmp_path / "log", *served))
    assert found.counted(1000.2, 1000.2) == (0, 0)
    assert found.share(1000.2, 1000.2) == 0
    assert [found.counted(1000 + at / 10, 1000 + (at + 5) / 10)[1] for at in (-5, -2, 0, 5)] == [0, 3, 5, 5]


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    found = traffic.read(log(tmp_path / "log", Visit(0, 1000.0, "home", 200, 0.1), rest='[1, 1000.1, "ho'))
    assert list(found.visits) == [0]


def test_a_log_without_its_first_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    with pytest.raises(ValueError, match="Expecting value"):
        traffic.read(path)
