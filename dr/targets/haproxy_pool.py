"""HAProxy as what takes an application's writes to the primary: one server is ready, the others in maintenance.

It cannot hold queries. While the roles change, that one server drains and its sessions are ended: clients that connect
get an error at once, and try again. Which server is meant is read off HAProxy itself: the one that is not in
maintenance.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from dr.targets.pools import Application, PoolState
from dr.targets.protocols import LocalPath, Opening, TargetConfig
from dr.targets.switching import DatabaseServer, ServerName
from dr.targets.transport.dsn import Address

if TYPE_CHECKING:
    from dr.targets.transport.haproxy_api import RuntimeApi

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]+$")]
MAINTENANCE, DRAINING = 0x01 | 0x02 | 0x20, 0x08 | 0x10
"""Bits of `srv_admin_state`; 0x04 only says that the configuration had it in maintenance."""
STATE: Final = "srv_admin_state"


class ProxiedServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server of the backend."""

    server: ServerName
    name: Name
    """What HAProxy calls it."""


class HaproxyPool(TargetConfig, frozen=True, tag="haproxy-pool"):
    """A backend of HAProxy that takes an application's writes to the primary."""

    speaks: ClassVar[tuple[str, ...]] = ("ConnectionPool",)

    backend: Name
    """The backend or listen section."""
    servers: Annotated[tuple[ProxiedServer, ...], msgspec.Meta(min_length=2, max_length=20)]
    """All its servers."""
    applications: Annotated[tuple[Application, ...], msgspec.Meta(min_length=1, max_length=50)]
    """application_name of the sessions that come through it; they are ended."""
    socket: LocalPath | None = None
    """HAProxy's stats socket, of level admin; this or `address`."""
    address: Address | None = None
    """The same over TCP. It asks for no password: only for networks that nobody else can reach."""

    def __post_init__(self) -> None:
        if (self.socket is None) == (self.address is None):
            raise ValueError("write either `socket` or `address`")
        for seen in ([item.server for item in self.servers], [item.name for item in self.servers]):
            if len(set(seen)) < len(seen):
                raise ValueError("servers: two of them are the same")


def open_target(config: HaproxyPool, opening: Opening) -> "HaproxyConnectionPool":
    """The target, opened. Nothing is connected yet."""
    from dr.targets.transport.haproxy_api import RuntimeApi

    host, _, port = (config.address or "").rpartition(":")
    return HaproxyConnectionPool(config, opening.name, RuntimeApi(config.socket or (host, int(port)), opening))


class HaproxyConnectionPool:
    """A ConnectionPool whose clients get errors while it is paused."""

    def __init__(self, config: HaproxyPool, name: str, api: "RuntimeApi") -> None:
        self._config = config
        self._name = name
        self._api = api

    def ping(self) -> None:
        self._states()

    def close(self) -> None:
        pass

    def keep_within(self, seconds: float) -> None:
        self._api.keep_within(seconds)

    def state(self) -> PoolState:
        taken = self._taken()
        [server] = [item.server for item in self._config.servers if [item.name] == list(taken)] or [""]
        return PoolState(server=server, paused=any(state & DRAINING for state in taken.values()))

    def obstacles(self) -> tuple[str, ...]:
        return ()

    def backends(self, primary: DatabaseServer) -> frozenset[int]:
        return primary.backends_of(self._config.applications)

    def pause(self, give_up: float) -> None:
        """Nobody is held, so there is nothing to give up."""
        self._api.order(*(f"set server {self._full(name)} state drain" for name in self._taken()))
        self.drop()

    def drop(self) -> None:
        self._api.order(*(f"shutdown sessions server {self._full(item.name)}" for item in self._config.servers))

    def resume(self) -> None:
        if waiting := [name for name, state in self._taken().items() if state & DRAINING]:
            self._api.order(*(f"set server {self._full(name)} state ready" for name in waiting))

    def prepare_repoint(self, server: str) -> None:
        """There is nothing to get ready."""

    def repoint(self, server: str) -> None:
        """In one go: at no moment are there two to take a connection."""
        wanted = next((item.name for item in self._config.servers if item.server == server), None)
        if wanted is None:
            raise LookupError(f"{self._name} knows no server {server}")
        left = "drain" if self.state().paused else "ready"
        others = [name for name in self._states() if name != wanted]
        away = [f"set server {self._full(name)} state maint" for name in others]
        ended = [f"shutdown sessions server {self._full(name)}" for name in others]
        self._api.order(*away, *ended, f"set server {self._full(wanted)} state {left}")

    def _taken(self) -> Mapping[str, int]:
        """The servers, by HAProxy's names, that are not in maintenance: connections go there, or will again."""
        return {name: state for name, state in self._states().items() if not state & MAINTENANCE}

    def _states(self) -> Mapping[str, int]:
        """Raises LookupError: a server is not there, or one that dr does not know of."""
        found = {name: int(row[STATE]) for name, row in self._api.servers(self._config.backend).items()}
        if different := set(found) ^ {item.name for item in self._config.servers}:
            raise LookupError(
                f"{self._name}: HAProxy's {self._config.backend} and `servers` differ in {', '.join(sorted(different))}"
            )
        return found

    def _full(self, name: str) -> str:
        return f"{self._config.backend}/{name}"
