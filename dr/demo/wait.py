"""Waiting for a condition of the outside world, never for a fixed time."""

import time
from collections.abc import Callable

POLL = 0.005


class WaitExpired(Exception):
    """What was waited for did not come true in time."""


def until(condition: Callable[[], bool], within: float, what: str) -> None:
    """Return when `condition` is true; it is looked at every 5 ms.

    Raises WaitExpired naming `what` after `within` seconds.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise WaitExpired(f"{what}: not so after {within:g} s")
        time.sleep(POLL)
