"""Waiting for an effect that takes a while after it was asked for."""

from collections.abc import Callable

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation


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
    """Wait while something is under way; once the effect was asked for, also until that can be seen.

    Args:
        here: the step's surroundings; before its first attempt nothing was asked for.
        look: looks once.
        within: seconds in all.
        every: seconds between two looks.
        begins_within: seconds after which what was asked for must be seen to be under way, or done.
    """
    began = here.now()
    begins = min(begins_within, within) if here.attempt else 0.0
    while True:
        seen = look()
        if seen.done:
            return InPlace(seen.facts)
        waited = here.now() - began
        if waited >= within or (seen.settled and waited >= begins):
            return NotInPlace(seen.facts)
        here.say(seen.words)
        here.sleep(min(every, within - waited))
