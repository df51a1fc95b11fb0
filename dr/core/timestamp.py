"""Points in time as entries hold them."""

from datetime import UTC, datetime


def iso(utc: float) -> str:
    """UTC with microseconds: `2023-05-15T14:00:00.000000Z`."""
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> float:
    """Seconds since 1970 of such a text.

    Raises:
        ValueError: it is no time, or it does not say its zone.
    """
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text!r} is a time without its zone")
    return when.timestamp()
