"""On how many hosts of a group something must be in place, and on which it was before a step."""

from typing import Annotated, Literal

import msgspec

from dr.core.step import Evidence

Standing = Literal["in_place", "not_in_place", "unknown"]
"""How a host stands; in evidence, the name of the list of hosts that stand so."""

Quorum = Annotated[str, msgspec.Meta(pattern=r"^(all|[1-9]\d* of [1-9]\d*)$")]
"""`all`, or `2 of 3`, where 3 is the size of the group."""


def check_quorum(quorum: str) -> None:
    """Raises ValueError: it asks for more hosts than there are."""
    wanted, of, size = quorum.partition(" of ")
    if of and int(wanted) > int(size):
        raise ValueError(f"quorum: {wanted} is more than {size}")


def needed(quorum: str, size: int, group: str) -> int:
    """Hosts that make the quorum in a group of that size. Raises LookupError: the quorum is of another size."""
    wanted, of, counted = quorum.partition(" of ")
    if of and int(counted) != size:
        raise LookupError(f"the quorum is {quorum}, but {group} has {size} hosts")
    return int(wanted) if of else size


def stood(before: Evidence, standing: Standing) -> list[str]:
    """The hosts that stood so before the step."""
    return msgspec.convert(before[standing], list[str])


def ours(before: Evidence) -> list[str]:
    """The hosts on which the step may have brought the effect about."""
    return stood(before, "not_in_place")
