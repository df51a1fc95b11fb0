"""Waiting for an effect that takes a while after it was asked for."""

from collections.abc import Callable

import msgspec

from dr.core.duration import Duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Unknown


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the thing."""

    done: bool
    settled: bool
    """Nothing is under way that could still bring the effect about."""
    facts: Evidence
    words: str
    """What the person who waits is told."""


def await_effect(
    here: Here, look: Callable[[], Seen], *, within: float, every: float, begins_within: float
) -> Observation:
    """Look until the effect is there, or until nothing is under way any more that could bring it about.

    What was just asked for may take a moment to show; so after an attempt that is waited for, too. What is still under
    way after `within` may yet bring the effect about: that is Unknown (safety rule 3).

    Args:
        here: the step's surroundings; `attempt` is 0 while nothing has been asked for.
        look: looks once.
        within: seconds in all.
        every: seconds between two looks.
        begins_within: seconds in which what an attempt has asked for must be seen to be under way, or done.
    """
    began = here.now()
    begins = min(begins_within, within) if here.attempt else 0.0
    while True:
        seen = look()
        if seen.done:
            return InPlace(seen.facts)
        waited = here.now() - began
        if seen.settled and waited >= begins:
            return NotInPlace(seen.facts)
        if waited >= within:
            return Unknown(f"after {Duration(within)}, {seen.words}")
        here.say(seen.words)
        here.sleep(min(every, within - waited))
