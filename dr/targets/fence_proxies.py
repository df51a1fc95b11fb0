"""The proxies that all clients of a server have to pass, and which lead nobody there any more.

For a server that `dr` cannot ask at all while its clients may still get there: a network that is broken in between.
That there is no way around these proxies cannot be seen from here; who writes them into `dr.toml` vouches for it.
"""

from contextlib import ExitStack
from typing import Annotated, Any, ClassVar

import msgspec

from dr.core.step import target
from dr.targets.pools import ServerGate
from dr.targets.protocols import Opening, TargetConfig
from dr.targets.switching import ServerName
from dr.targets.transport.ways_in import WaysIn


class FenceProxies(TargetConfig, frozen=True, tag="fence-proxies"):
    """All proxies by which one gets to a server."""

    speaks: ClassVar[tuple[str, ...]] = ("FencingAgent",)

    server: ServerName
    """The server to which they lead nobody any more."""
    proxies: Annotated[tuple[Annotated[str, target(ServerGate)], ...], msgspec.Meta(min_length=1, max_length=20)]
    """Whom the server lets in, by its pg_hba.conf or a firewall: targets of type `pgbouncer-pool`."""


def open_target(config: FenceProxies, opening: Opening) -> WaysIn:
    """Raises TargetUnreachable: one of them does not answer."""
    with ExitStack() as opened:
        gates: list[Any] = []
        for name in config.proxies:
            gates.append(opening.other(name))
            opened.callback(gates[-1].close)
        end = opened.pop_all().close

    def find() -> list[str]:
        return [way for gate in gates for way in gate.ways_to(config.server)]

    def prepare() -> None:
        for gate in gates:
            gate.prepare_shut(config.server)

    def close() -> None:
        for gate in gates:
            gate.shut(config.server)

    def keep_within(seconds: float) -> None:
        for gate in gates:
            gate.keep_within(seconds)

    return WaysIn(
        opening.name, config.server, find=find, prepare=prepare, close=close, keep_within=keep_within, end=end
    )
