"""On how many hosts of a group something must be in place."""

from typing import Annotated

import msgspec

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
