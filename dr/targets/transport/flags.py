"""What every store of feature flags decides and says alike."""

from collections.abc import Iterable
from typing import Final

from dr.targets.protocols import Conflict, FlagState

MOST_NAMES: Final = 10


def must_write(flag: str, current: FlagState, state: FlagState, *, expected: FlagState) -> bool:
    """The compare of a compare-and-set: whether `state` is still to be written. Rules of a flag are not compared.

    Raises:
        Conflict: it stands neither as expected nor as it is wanted.
    """
    if _value(current) == _value(state):
        return False
    if _value(current) != _value(expected):
        raise Conflict(f"the flag {flag!r} was changed by somebody else: it is {current}, not {expected}")
    return True


def listed(names: Iterable[str]) -> str:
    """Some of the names there are, for whoever asked for one that is not there."""
    known = sorted(names)
    shown = ", ".join(repr(name) for name in known[:MOST_NAMES])
    return (shown or "none") + (", ..." if len(known) > MOST_NAMES else "")


def _value(state: FlagState) -> tuple[bool, str]:
    return state.enabled, state.variant
