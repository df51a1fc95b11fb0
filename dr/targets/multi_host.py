"""Clients that find the primary by themselves: libpq, several hosts, `target_session_attrs=read-write`.

Nothing stands between them and the servers, so nobody can make them wait: they get errors from the stop of the old
primary until the new one takes writes. What dr can do is look where they end up.
"""

import time
from contextlib import closing
from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.pools import Application, PoolState
from dr.targets.protocols import Opening, TargetConfig, TargetUnreachable
from dr.targets.switching import DatabaseServer
from dr.targets.transport.dsn import Dsn, check_dsn
from dr.targets.transport.pooled_server import PooledServer

LOOK: Final = 2.0
"""Seconds that one server may take, as a client's connect_timeout: one that is silent must not hide the next one."""


class MultiHost(TargetConfig, frozen=True, tag="multi-host"):
    """Applications whose connection string names all servers, and which connect to the one that takes writes."""

    speaks: ClassVar[tuple[str, ...]] = ("ConnectionPool",)

    servers: Annotated[tuple[PooledServer, ...], msgspec.Meta(min_length=2, max_length=20)]
    """The servers in the order of that string."""
    applications: Annotated[tuple[Application, ...], msgspec.Meta(min_length=1, max_length=50)]
    """application_name of the sessions that connect like this, and will connect anew."""
    dsn: Dsn
    """How dr connects to look: a libpq connection string without host and port."""
    password: SecretRef | None = None

    def __post_init__(self) -> None:
        check_dsn("dsn", self.dsn)
        check_reference("password", self.password)


def open_target(config: MultiHost, opening: Opening) -> "MultiHostClients":
    """Nothing is connected yet."""
    return MultiHostClients(config, opening)


class MultiHostClients:
    """A ConnectionPool that cannot hold anybody."""

    def __init__(self, config: MultiHost, opening: Opening) -> None:
        self._config = config
        self._opening = opening
        self._deadline = time.monotonic() + opening.timeout

    def ping(self) -> None:
        """Whether there is a primary is for the steps to say: that there is none may be why dr was called."""

    def close(self) -> None:
        pass

    def keep_within(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def state(self) -> PoolState:
        """The first server that takes writes, as libpq finds it."""
        server = next((item.server for item in self._config.servers if self._takes_writes(item.at)), "")
        return PoolState(server=server, paused=False)

    def obstacles(self) -> tuple[str, ...]:
        return ()

    def backends(self, primary: DatabaseServer) -> frozenset[int]:
        return primary.backends_of(self._config.applications)

    def pause(self, give_up: float) -> None:
        """The stop of the old primary is what keeps them out."""

    def drop(self) -> None:
        """Sessions with a dead server end with it."""

    def resume(self) -> None:
        """They connect again and again by themselves."""

    def prepare_repoint(self, server: str) -> None:
        self.repoint(server)

    def repoint(self, server: str) -> None:
        """They find it by themselves. Raises LookupError: they do not know it."""
        if server not in {item.server for item in self._config.servers}:
            raise LookupError(f"{self._opening.name} knows no server {server}")

    def _takes_writes(self, at: str) -> bool:
        from dr.targets.transport import libpq

        left = max(0.001, min(LOOK, self._deadline - time.monotonic()))
        opening = msgspec.structs.replace(self._opening, timeout=left)
        try:
            with closing(libpq.login(opening, self._config.dsn, self._config.password, at=at)) as client:
                return client.rows("show transaction_read_only") == [("off",)]
        except TargetUnreachable:
            return False
