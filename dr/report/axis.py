"""The axis of time that the charts of a page share, and spans of time in words."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SQUEEZE = 0.12
"""Part of the room of all work that an idle stretch may take, so that a night between two days flattens neither."""
ROUND = (
    *(size * power for power in (0.001, 0.01, 0.1, 1.0) for size in (1, 2, 5)),
    *(10.0, 20.0, 30.0, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY),
)
"""Seconds that may lie between two ticks."""
MOST_TICKS = 10


class Axis(msgspec.Struct, frozen=True):
    """Maps seconds to x. Straight between its knots; `squeezed` are the stretches that are not to scale."""

    knots: tuple[tuple[float, float], ...]
    squeezed: tuple[tuple[float, float], ...]

    @property
    def start(self) -> float:
        return self.knots[0][0]

    @property
    def end(self) -> float:
        return self.knots[-1][0]

    def x(self, at: float) -> float:
        """Where the moment stands; one outside stands at the edge."""
        at = min(max(at, self.start), self.end)
        right = min(max(bisect_right(self.knots, at, key=lambda knot: knot[0]), 1), len(self.knots) - 1)
        (t0, x0), (t1, x1) = self.knots[right - 1], self.knots[right]
        return x0 + (x1 - x0) * (at - t0) / (t1 - t0)

    def ticks(self, zero: float) -> Iterator[float]:
        """Moments worth a line: at round distances from `zero`, where the axis is to scale."""
        drawn = self.end - self.start - sum(end - start for start, end in self.squeezed)
        every = next((size for size in ROUND if drawn / size <= MOST_TICKS), drawn / MOST_TICKS)
        stretches = pairwise([self.start, *(edge for stretch in self.squeezed for edge in stretch), self.end])
        for number, (start, end) in enumerate(stretches):
            if number % 2 == 0:
                first, last = -int((zero - start) // every), int((end - zero) // every)
                yield from (zero + tick * every for tick in range(first, last + 1))


def axis(start: float, end: float, idle: Iterable[tuple[float, float]], left: float, width: float) -> Axis:
    """An axis from `start` to `end` over `width`; a stretch of `idle` that is longer than all work is squeezed."""
    end = max(end, start + 0.001)
    edges = [start]
    for stretch in sorted(idle):
        edges += [max(edge, edges[-1]) for edge in stretch]
    edges.append(end)  # from here on, every second stretch between two edges is idle
    lengths = [last - first for first, last in pairwise(edges)]
    busy = max(sum(lengths[::2]), 0.001)
    room = busy * SQUEEZE
    squeezed = [bool(number % 2) and length > busy for number, length in enumerate(lengths)]
    drawn = [room if short else length for length, short in zip(lengths, squeezed, strict=True)]
    scale = width / sum(drawn)
    knots, x = [(start, left)], left
    for edge, room_taken in zip(edges[1:], drawn, strict=True):
        x += room_taken * scale
        if edge > knots[-1][0]:
            knots.append((edge, x))
    return Axis(tuple(knots), tuple(edge for edge, short in zip(pairwise(edges), squeezed, strict=True) if short))


def span(seconds: float) -> str:
    """A span of time in words of at most two units: `320 ms`, `9.8 s`, `5 m 03 s`, `8 h 12 m`."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms" if round(seconds, 3) else "0 s"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    if round(seconds) < HOUR:
        return "{} m {:02} s".format(*divmod(round(seconds), 60))
    if round(seconds / MINUTE) * MINUTE < DAY:
        return "{} h {:02} m".format(*divmod(round(seconds / MINUTE), 60))
    return "{} d {:02} h".format(*divmod(round(seconds / HOUR), 24))


def after(seconds: float) -> str:
    """Time counted from a moment, as a stopwatch shows it: `+9.8 s`; before it `-9.8 s`."""
    return passed(seconds) if seconds < 0 else f"+{passed(seconds)}"


def passed(seconds: float) -> str:
    """Time gone by, as a stopwatch shows it: `9.8 s`, `5:03.0`, `11:04:50.2`."""
    sign, tenths = "-" if seconds < 0 else "", round(abs(seconds) * 10)
    if tenths < MINUTE * 10:
        return f"{sign}{tenths / 10:.1f} s"
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{sign}{minutes}:{rest / 10:04.1f}"
