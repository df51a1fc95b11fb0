"""What became of the shop's visitors: the log of `dr.demo.load`, written and read.

The first line says when the first visitor came and how many come a second; every other line is one visitor whose visit
has ended. So it is known at any moment who ought to have an answer, and a visitor without one is counted, too.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

SLOW = 1.0  # seconds after which a visitor counts as affected, whatever comes later


@dataclass(frozen=True)
class Visit:
    """One visitor: when they meant to come (Unix time), and how it ended. No `status`: no whole answer."""

    number: int
    at: float
    page: str
    status: int | None
    seconds: float

    @property
    def affected(self) -> bool:
        """Whether the visitor got an error, nothing, or a page too late."""
        return self.status != HTTPStatus.OK or self.seconds > SLOW

    def line(self) -> str:
        """The visitor's line in the log."""
        return json.dumps([self.number, self.at, self.page, self.status, round(self.seconds, 6)]) + "\n"


@dataclass(frozen=True)
class Traffic:
    """All visitors of one log, by their number."""

    start: float
    rate: float
    visits: Mapping[int, Visit]

    def counted(self, since: float, until: float) -> tuple[int, int]:
        """Of the visitors due from `since` to before `until` (Unix time): (affected, all).

        Ask a little later than `until` + SLOW: whoever has no line in the log is counted as affected.
        """
        first = max(0, math.ceil((since - self.start) * self.rate))
        due = range(first, max(first, math.ceil((until - self.start) * self.rate)))
        served = sum(number in self.visits and not self.visits[number].affected for number in due)
        return len(due) - served, len(due)

    def share(self, since: float, until: float) -> float:
        """Share of the visitors due in a time who were affected, 0 to 1; 0 if nobody was due."""
        affected, due = self.counted(since, until)
        return affected / due if due else 0.0


def header(start: float, rate: float) -> str:
    """The first line of a log."""
    return json.dumps({"start": start, "rate": rate}) + "\n"


def read(path: Path) -> Traffic:
    """The log as it stands; it may be being written. Raises ValueError if it has no first line yet."""
    first, *lines = path.read_text().split("\n")[:-1] or [""]
    visits = [Visit(*json.loads(line)) for line in lines]
    return Traffic(**json.loads(first), visits={visit.number: visit for visit in visits})
