import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.core.duration import Duration
from dr.core.runbook import Retry
from dr.waits import draw_wait


def retry(strategy: str, wait: float, longest: float = 10, jitter: float = 0) -> Retry:
    return Retry(
        attempts=100,
        strategy=strategy,  # type: ignore[arg-type]
        wait=Duration(wait),
        max=Duration(longest),
        jitter=Duration(jitter),
    )


def test_a_fixed_wait_is_the_same_each_time() -> None:
    assert [draw_wait(retry("fixed", 3), attempt) for attempt in (1, 2, 50)] == [3, 3, 3]


def test_an_exponential_wait_doubles_up_to_its_longest() -> None:
    assert [draw_wait(retry("exponential", 0.5), attempt) for attempt in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]


@given(st.integers(1, 100), st.sampled_from(["fixed", "exponential"]))
def test_no_wait_is_longer_than_what_the_engine_takes_for_the_longest(attempt: int, strategy: str) -> None:
    """Safety rule 15. The engine waits at most `wait` + `max` + `jitter`, whatever a clock says."""
    drawn = draw_wait(retry(strategy, 7, 30, jitter=2), attempt)
    assert 0 <= drawn <= 7 + 30 + 2


def test_jitter_spreads_what_would_come_at_once() -> None:
    drawn = {draw_wait(retry("fixed", 1, jitter=5), 1) for _ in range(50)}
    assert len(drawn) > 40
    assert min(drawn) >= 1
    assert max(drawn) <= 6


def test_a_wait_of_nothing_is_nothing() -> None:
    assert draw_wait(retry("exponential", 0), 1) == pytest.approx(0)
