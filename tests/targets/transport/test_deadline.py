import threading

import pytest

from dr.targets.transport.deadline import within


def nothing(result: object) -> None:
    raise AssertionError(f"{result!r} was discarded")


def test_an_answer_in_time_is_returned() -> None:
    assert within(30, lambda: 42, discard=nothing) == 42


def test_an_error_in_time_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 / 0, discard=nothing)


def test_a_late_answer_is_given_up_and_then_discarded() -> None:
    go_on, discarded = threading.Event(), threading.Event()

    def call() -> str:
        go_on.wait(30)
        return "late"

    with pytest.raises(TimeoutError):
        within(0.01, call, discard=lambda result: discarded.set() if result == "late" else None)
    assert not discarded.is_set()
    go_on.set()
    assert discarded.wait(30)
