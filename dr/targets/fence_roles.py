"""A PostgreSQL server from which all roles but a few are kept out, by SQL.

For one that answers, while its host cannot be commanded: nobody can log in there, or its disk does not answer. It goes
on running, so this fence is worth no more than the roles that are kept.
"""

from typing import Annotated, Any, ClassVar

import msgspec

from dr.targets.protocols import Opening, TargetConfig
from dr.targets.switching import ServerName
from dr.targets.transport.ways_in import WaysIn

Role = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class FenceRoles(TargetConfig, frozen=True, tag="fence-roles"):
    """A server to which only a few roles can log in."""

    speaks: ClassVar[tuple[str, ...]] = ("FencingAgent",)

    server: ServerName
    """The server, which has to answer."""
    keep: Annotated[tuple[Role, ...], msgspec.Meta(max_length=50)] = ()
    """Roles that may log in all the same, besides the one that dr itself uses there; they must not write."""


def open_target(config: FenceRoles, opening: Opening) -> WaysIn:
    """Nothing is connected yet."""
    server: Any = opening.other(config.server)
    return WaysIn(
        opening.name,
        config.server,
        find=lambda: server.still_in(config.keep),
        close=lambda: server.keep_out(config.keep),
        keep_within=server.keep_within,
        end=server.close,
    )
