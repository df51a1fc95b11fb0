"""Points in time as entries hold them."""

import functools
from datetime import UTC, datetime


def iso(utc: float) -> str:
    """UTC with microseconds: `2023-05-15T14:00:00.000000Z`."""
    second, microsecond = divmod(round(utc * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microsecond:06}Z"


@functools.lru_cache(maxsize=1)  # a run writes thousands of entries in a second, and this costs more than the rest
def _second(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).replace(tzinfo=None).isoformat()


def parse_iso(text: str) -> float:
    """Seconds since 1970 of such a text.

    Raises:
        ValueError: it is no time, or it does not say its zone.
    """
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text!r} is a time without its zone")
    return when.timestamp()
