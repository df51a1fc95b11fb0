import math

import pytest

from dr.report.exhibit import Comparison, Series


@pytest.mark.parametrize(
    "points, until",
    [
        ((), 1.0),
        (((1.0, 2.0), (0.5, 2.0)), 3.0),
        (((1.0, 2.0),), 0.5),
        (((1.0, math.nan),), 2.0),
        (((1.0, 2.0),), math.inf),
    ],
)
def test_series_that_cannot_be_drawn_is_refused(points: tuple[tuple[float, float], ...], until: float) -> None:
    with pytest.raises(ValueError, match="the series"):
        Series(title="t", unit="%", points=points, until=until)


def test_comparison_with_a_cell_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 cells"):
        Comparison(title="t", columns=("", "then"), rows=(("detected", "10:00"), ("recovered",)))
