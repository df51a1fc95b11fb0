"""Evidence as an entry holds it, and in words."""

import msgspec

from dr.core.duration import encode_hook
from dr.core.step import Evidence

LARGEST = 64 * 1024
"""Bytes of JSON that one look or claim may put into an entry (safety rule 15)."""


def as_recorded(evidence: Evidence) -> Evidence:
    """The evidence as the journal will hold it: a live run sees the same as one that is resumed.

    Raises:
        ValueError, TypeError: it is too large, or no JSON.
    """
    try:
        raw = msgspec.json.encode(evidence, enc_hook=encode_hook)
    except RecursionError:
        raise ValueError("the evidence is nested too deeply to be recorded") from None
    if len(raw) > LARGEST:
        raise ValueError(f"the evidence is too large to be recorded: {len(raw):,} bytes of {LARGEST:,}")
    return msgspec.json.decode(raw, type=dict[str, object])


def findings(evidence: Evidence) -> str | None:
    """What a check found wrong, on one line; None where the evidence has no findings."""
    found = evidence.get("findings")
    return "; ".join(str(item) for item in found) if isinstance(found, list | tuple) else None


def in_words(evidence: Evidence) -> str:
    """The findings where there are some, else all its fields."""
    found = findings(evidence)
    if found is not None:
        return found
    return ", ".join(f"{name}: {value}" for name, value in evidence.items()) or "nothing was found"
