"""Receipts for messages that this process has handed over.

A service that takes messages cannot be asked later whether it has one. Each look opens its target anew, so the receipt
outlives the target that got it; a process that dies takes it along.
"""

from dr.targets.protocols import Opening, Receipt

_receipts: dict[tuple[str, str], Receipt] = {}


def keep(opening: Opening, receipt: Receipt) -> Receipt:
    """Remember it for the step that asks."""
    _receipts[_key(opening)] = receipt
    return receipt


def find(opening: Opening) -> Receipt | None:
    """What was kept for the step that asks, also by an earlier attempt whose answer came late."""
    return _receipts.get(_key(opening))


def without_attempt(label: str) -> str:
    """The label of run and step: `dr:<run>:<step>`."""
    return label.rpartition(":")[0]


def _key(opening: Opening) -> tuple[str, str]:
    return opening.name, without_attempt(opening.label)
