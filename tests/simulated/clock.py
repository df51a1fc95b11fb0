"""A clock that moves only when somebody waits for it, and the operator's Ctrl-C on that clock."""

import math

EPOCH = 1_684_159_200.0
"""15 May 2023, 14:00 UTC."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.skew = 0.0
        """How far the wall clock is off; what another machine's clock says."""

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> float:
        return EPOCH + self.now + self.skew

    def wait(self, seconds: float) -> None:
        assert 0 <= seconds < 3600, f"nobody waits {seconds} s in one piece"
        self.now += seconds


class Stop:
    """Wished from the moment `at` on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at = math.inf

    def is_set(self) -> bool:
        return self._clock.now >= self.at

    def wait(self, timeout: float) -> bool:
        self._clock.wait(max(0.0, min(timeout, self.at - self._clock.now)))
        return self.is_set()
