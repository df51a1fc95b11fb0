"""What is to be known of a primary that seems dead, before another server takes its place."""

from collections.abc import Callable, Iterable

from dr.core.duration import Duration
from dr.core.step import Evidence
from dr.targets.protocols import TargetUnreachable

ADVICE = "failing over would take the load along; use the runbook database-overload, or `despite: [overloaded]`"


def sign_of_life(name: str, pulse: str, heard: Iterable[tuple[str, float | None]], quiet_for: Duration) -> str:
    """Why the primary is not dead; empty when it is, as far as can be seen.

    `pulse` is its Pulse; `heard`, for each standby, the seconds since it heard of the primary if it is connected to it.
    """
    if pulse == "overloaded":
        return f"{name} is overloaded, not dead: it has no connection left; {ADVICE}"
    if pulse == "starting":
        return f"{name} is not dead: it is starting or shutting down"
    for standby, age in heard:
        if age is not None and age < quiet_for:
            return f"{name} hangs or is overloaded, not dead: {standby} heard of it {age:.1f} s ago; {ADVICE}"
    return ""


def lost_at_most(read: Callable[[], float]) -> Evidence:
    """How much is lost at most, as far as it can be told: the age of the newest marker that arrived."""
    try:
        return {"lost_at_most_seconds": round(read(), 3)}
    except (LookupError, TargetUnreachable) as error:
        return {"lost_at_most_seconds": None, "why": str(error)}
