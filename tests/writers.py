"""Ways of clients to the primary that hold nobody: they get errors while the roles change, and find the new one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from dr.demo import wait
from dr.demo.postgres import free_port
from dr.targets.haproxy_pool import HaproxyPool, ProxiedServer
from dr.targets.multi_host import MultiHost
from dr.targets.protocols import TargetConfig
from dr.targets.transport.pooled_server import PooledServer
from tests.cluster import LIMIT, Cluster
from tests.haproxy import BINARY
from tests.here import World

APPLICATION = "shop"
HAPROXY = """\
global
    stats socket {folder}/haproxy.sock level admin mode 600
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
listen writes
    bind 127.0.0.1:{port}
    server first 127.0.0.1:{first} check inter 50ms
    server second 127.0.0.1:{second} check inter 50ms disabled
"""


class Way:
    """Clients of a cluster on one of these ways; the target `pool` is that."""

    def __init__(self, servers: Cluster, pool: TargetConfig, hosts: str) -> None:
        self.servers = servers
        self.pool = pool
        self._hosts = hosts

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        own = f"user=postgres password={self.servers.first.server.password} dbname=postgres connect_timeout=5"
        return psycopg.connect(f"{self._hosts} {own} application_name={APPLICATION}", autocommit=True, **parameters)

    def dsns(self) -> dict[str, str]:
        return self.servers.dsns()

    def world(self) -> World:
        return World({**self.servers.targets(), "pool": self.pool}, self.servers.secrets)

    def port(self) -> int:
        """Where a client that connects now writes."""
        with self.connect() as client:
            [(port,)] = client.execute("select inet_server_port()").fetchall()
        return int(port)


@contextmanager
def multi_host(servers: Cluster) -> Iterator[Way]:
    """Clients that know both servers and take the one that is writable."""
    nodes = (servers.first, servers.second)
    behind = tuple(PooledServer(server=node.name, at=f"127.0.0.1:{node.server.port}") for node in nodes)
    pool = MultiHost(
        servers=behind, applications=(APPLICATION,), dsn="user=postgres dbname=postgres", password="env:PGTEST"
    )
    ports = ",".join(str(node.server.port) for node in nodes)
    yield Way(servers, pool, f"host=127.0.0.1,127.0.0.1 port={ports} target_session_attrs=read-write")


@contextmanager
def haproxy_writes(servers: Cluster) -> Iterator[Way]:
    """Clients of an HAProxy whose backend has both servers."""
    if BINARY is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    folder, port = servers.workspace.directory, free_port()
    text = HAPROXY.format(folder=folder, port=port, first=servers.first.server.port, second=servers.second.server.port)
    (folder / "haproxy.cfg").write_text(text)
    process = servers.workspace.spawn([BINARY, "-db", "-f", folder / "haproxy.cfg"], "haproxy.log")
    behind = (ProxiedServer(server="db1", name="first"), ProxiedServer(server="db2", name="second"))
    pool = HaproxyPool(
        backend="writes", servers=behind, applications=(APPLICATION,), socket=str(folder / "haproxy.sock")
    )
    way = Way(servers, pool, f"host=127.0.0.1 port={port}")

    def accepts() -> bool:
        assert process.poll() is None, servers.workspace.tail("haproxy.log")
        try:
            way.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    wait.until(accepts, LIMIT, "HAProxy accepts connections")
    yield way


WAYS: tuple[Callable[[Cluster], AbstractContextManager[Way]], ...] = (multi_host, haproxy_writes)
