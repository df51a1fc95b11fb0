"""What a caller lays beside a run: something measured while it went on, and figures to compare it with.

The journal knows nothing of these and its chain does not cover them; the report says so wherever it shows one.
"""

import math

import msgspec


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A moment worth a line in the plot: `detected`, `disabled`, `recovered`."""

    at: float
    """Seconds since 1970, UTC."""
    label: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over time, drawn as steps: each value holds until the next one.

    Raises:
        ValueError: there are no points, they are not in the order of time, or a number is not finite.
    """

    title: str
    unit: str
    points: tuple[tuple[float, float], ...]
    """(Seconds since 1970 in UTC, value), in the order of time."""
    until: float
    """When the last value ends to hold; seconds since 1970, UTC."""
    top: float | None = None
    """The upper end of the axis; by default the highest value."""
    marks: tuple[Mark, ...] = ()
    how: str = ""
    """How it was measured, in a sentence or two."""

    def __post_init__(self) -> None:
        times = [at for at, _ in self.points] + [self.until]
        numbers = [*times, *(value for _, value in self.points), *(mark.at for mark in self.marks), self.top or 0.0]
        if not self.points or not all(map(math.isfinite, numbers)):
            raise ValueError(f"the series {self.title!r} needs points, and all its numbers finite")
        if times != sorted(times):
            raise ValueError(f"the points of the series {self.title!r} are not in the order of time")


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A table: the same things measured or told in several places, such as an incident then and a run now.

    Raises:
        ValueError: a row is not as long as `columns`.
    """

    title: str
    columns: tuple[str, ...]
    """Headings; the first column names what is compared."""
    rows: tuple[tuple[str, ...], ...]
    how: str = ""
    """Where the figures come from."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"each row of {self.title!r} needs {len(self.columns)} cells")


class Exhibits(msgspec.Struct, frozen=True, kw_only=True):
    """Everything laid beside one run."""

    series: tuple[Series, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


NOTHING = Exhibits()
