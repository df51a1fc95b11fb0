"""Reads, or users, moved by HAProxy: a backend's two servers share its connections by their weights.

The weights are set through the Runtime API and live in HAProxy's memory: a reload or restart goes back to what its
configuration says, unless it reads a server-state file. With `state_file` the two servers' lines there are written
before the weights are set, so no crash of dr leaves a shift in force that the next reload would take back.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import msgspec

from dr.targets.protocols import DatabaseName, LocalPath, Opening, Share, TargetConfig
from dr.targets.transport.dsn import Address
from dr.targets.transport.textfile import TextFile

if TYPE_CHECKING:
    from dr.targets.transport.haproxy_api import RuntimeApi

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]+$")]
Server = Mapping[str, str]
"""A line of `show servers state`, by its columns."""

ALL: Final = 100
BY_WEIGHT: Final = "weight"
READY, MAINTENANCE, DRAINING = 0, 0x01, 0x08
"""Bits of `srv_admin_state` that the Runtime API sets."""
STATES: Final[Mapping[str, tuple[int, str]]] = {
    BY_WEIGHT: (READY, "ready"),
    "drain": (DRAINING, "drain"),
    "maint": (MAINTENANCE, "maint"),
}
"""How a server is left that gets nothing: its bit, and the word of `set server ... state`."""
VERSION: Final = "1"
"""First line of a server-state file."""
STOPPED: Final = "0"
"""`srv_op_state` of a server that HAProxy's checks hold for down."""


class HaproxyTraffic(TargetConfig, frozen=True, kw_only=True, tag="haproxy-traffic"):
    """A backend of HAProxy that takes users to two servers, or sites, by their weights.

    Who is connected stays where he is until he connects anew, or until `end_sessions` ends it.
    """

    speaks: ClassVar[tuple[str, ...]] = ("TrafficRouter",)

    backend: Name
    """The backend or listen section."""
    primary_server: Name
    """What the primary is called there."""
    standby_server: Name
    """What the standby is called there."""
    socket: LocalPath | None = None
    """HAProxy's stats socket, of level admin; this or `address`."""
    address: Address | None = None
    """The same over TCP. It asks for no password: only for networks that nobody else can reach."""
    left: Literal["weight", "drain", "maint"] = "weight"
    """What a server becomes that gets nothing at all: of weight 0, draining, or in maintenance (no health checks,
    and no clients that a cookie or stick table sends there)."""
    end_sessions: bool = False
    """End the sessions on the server that gets nothing any more; each costs its client an error."""
    state_file: LocalPath | None = None
    """HAProxy's server-state-file, which must exist; without it a reload takes a shift back."""

    def __post_init__(self) -> None:
        if (self.socket is None) == (self.address is None):
            raise ValueError("write either `socket` or `address`")
        if self.primary_server == self.standby_server:
            raise ValueError("primary_server and standby_server are one")
        if self.left == "maint" and self.state_file is not None:
            raise ValueError(
                "state_file: HAProxy checks no server in maintenance, so what a reload would bring back is "
                "old; write `left: drain`"
            )


class HaproxyReads(HaproxyTraffic, frozen=True, kw_only=True, tag="haproxy-reads"):
    """A backend of HAProxy that takes an application's reads to two database servers by their weights."""

    speaks: ClassVar[tuple[str, ...]] = ("ReadRouter",)

    primary: DatabaseName
    """Name of the target that is the primary database."""
    standby: DatabaseName
    """Name of the target that takes the reads."""
    application: str
    """application_name of the sessions that read."""


def open_target(config: HaproxyTraffic, opening: Opening) -> "HaproxyRouter":
    """The target, opened. Nothing is connected yet."""
    from dr.targets.transport.haproxy_api import RuntimeApi

    host, _, port = (config.address or "").rpartition(":")
    file = TextFile(config.state_file, time.monotonic() + opening.timeout) if config.state_file else None
    api = RuntimeApi(config.socket or (host, int(port)), opening)
    return (
        HaproxyReadRouter(config, api, file) if isinstance(config, HaproxyReads) else HaproxyRouter(config, api, file)
    )


class HaproxyRouter:
    """A TrafficRouter, exact to a percent of the connections that are opened from now on."""

    def __init__(self, config: HaproxyTraffic, api: "RuntimeApi", state_file: TextFile | None) -> None:
        self._config = config
        self._api = api
        self._state_file = state_file

    def ping(self) -> None:
        self.share()

    def close(self) -> None:
        pass

    def shares(self) -> tuple[int, ...]:
        return tuple(range(ALL + 1))

    def share(self) -> Share:
        return _share(*self._servers())

    def time_to_live(self) -> float:
        return 0.0

    def shift(self, share: Share) -> None:
        if share.standby not in range(ALL + 1):
            raise LookupError(f"{share.standby} is not a share of 0 to 100 percent")
        primary, standby = self._servers()
        shares = [(primary, ALL - share.standby), (standby, share.standby)]
        for server, percent in shares:
            if percent > _weight(server):
                self._check_fit(server)
        # Who gets more comes first: at no moment is there nobody to take a connection.
        shares.sort(key=lambda pair: _weight(pair[0]) - pair[1])
        if self._state_file is not None:
            wanted = [self._as_wanted(server, percent) for server, percent in shares]
            self._state_file.rewrite(lambda text: with_servers(text, wanted))
        self._api.order(*(command for server, percent in shares for command in self._commands(server, percent)))

    def _servers(self) -> tuple[Server, Server]:
        """The primary and the standby as they stand in the backend.

        Raises:
            LookupError: one is not there, or the backend's connections also go elsewhere.
        """
        config = self._config
        servers = self._api.servers(config.backend)
        backups = {name for name, row in self._api.statistics(config.backend).items() if row.get("bck") == "1"}
        ours = (config.primary_server, config.standby_server)
        for name in ours:
            if name not in servers:
                raise LookupError(f"HAProxy's {config.backend} has no server {name}")
            if name in backups:
                raise LookupError(f"HAProxy's {config.backend}/{name} is a backup server, which no weight moves")
        for name, row in servers.items():
            if name not in ours and name not in backups and _weight(row):
                raise LookupError(f"HAProxy's {config.backend}/{name} is used, too; it must have the weight 0")
        return servers[config.primary_server], servers[config.standby_server]

    def _check_fit(self, server: Server) -> None:
        """Raises LookupError: the server cannot be sent more, for a reason that is not dr's to take away."""
        where = f"HAProxy's {self._config.backend}/{server['srv_name']}"
        ours, _ = STATES[self._config.left]
        state = int(server["srv_admin_state"])
        if state & ~ours:
            raise LookupError(f"{where} was taken out of service by somebody else (srv_admin_state {state})")
        if not state and server["srv_op_state"] == STOPPED:
            raise LookupError(f"{where} is down by HAProxy's own check")

    def _commands(self, server: Server, percent: int) -> list[str]:
        name = f"{self._config.backend}/{server['srv_name']}"
        commands = [f"set server {name} weight {percent}"]
        if self._config.left != BY_WEIGHT:
            _, left = STATES[self._config.left]
            commands.append(f"set server {name} state {'ready' if percent else left}")
        if self._config.end_sessions and not percent:
            commands.append(f"shutdown sessions server {name}")
        return commands

    def _as_wanted(self, server: Server, percent: int) -> Server:
        """The server's line as it will be; what somebody else has set stays."""
        left, _ = STATES[self._config.left]
        state = int(server["srv_admin_state"]) & ~left | (0 if percent else left)
        return {**server, "srv_uweight": str(percent), "srv_admin_state": str(state)}


class HaproxyReadRouter(HaproxyRouter):
    """A ReadRouter."""

    def __init__(self, config: HaproxyReads, api: "RuntimeApi", state_file: TextFile | None) -> None:
        super().__init__(config, api, state_file)
        self.primary = config.primary
        self.standby = config.standby
        self.application = config.application


def with_servers(text: str, servers: Sequence[Server]) -> str:
    """A server-state file with these servers' lines put in; every other line as it was.

    The lines of other servers are not renewed: an old state of theirs would come back at some later reload.

    Raises:
        LookupError: it is of another version than dr knows.
    """
    lines = text.splitlines() or [VERSION, "# " + " ".join(servers[0])]
    if lines[0] != VERSION:
        raise LookupError(f"the server-state file is not of version {VERSION}: {lines[0][:20]!r}")
    for server in servers:
        mine = _identity(list(server.values()))
        place = next((at for at, line in enumerate(lines) if _identity(line.split(" ")) == mine), len(lines))
        lines[place : place + 1] = [" ".join(server.values())]
    return "\n".join(lines) + "\n"


def _identity(line: Sequence[str]) -> Sequence[str]:
    """The backend's and the server's name in a line of a server-state file."""
    return line[1:4:2]


def _weight(server: Server) -> int:
    """The weight in force: a server in maintenance or draining has none, whatever is set."""
    return 0 if int(server["srv_admin_state"]) else int(server["srv_uweight"])


def _share(primary: Server, standby: Server) -> Share:
    """The share in percent. Raises LookupError: neither of them gets anything."""
    if not _weight(primary) + _weight(standby):
        raise LookupError(f"HAProxy sends nothing, neither to {primary['srv_name']} nor to {standby['srv_name']}")
    return Share.of_weights(primary=_weight(primary), standby=_weight(standby))
