"""Everything the incident needs, running: two databases, the shop, its visitors and its monitoring."""

import http.client
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from dr.demo import database, flags, postgres, wait
from dr.demo.workspace import Workspace

LIMIT = 60.0  # seconds for the shop to answer; it takes one


@dataclass(frozen=True)
class Stage:
    """Where the running parts are found."""

    servers: postgres.Pair
    logins: database.Logins
    flags: Path
    port: int
    traffic: Path
    alarms: Path


def build(workspace: Workspace) -> Stage:
    """Start all parts; they end with the workspace. The shop answers when this returns, and visitors come."""
    servers = postgres.pair_in(workspace)
    logins = database.Logins(shop=secrets.token_hex(16), rescuer=secrets.token_hex(16))
    database.fill(servers.primary, logins)
    flag_file = workspace.directory / "flags.json"
    flags.create(flag_file)
    port = open_shop(workspace, servers, logins, flag_file)
    stage = Stage(
        servers, logins, flag_file, port, workspace.directory / "traffic.jsonl", workspace.directory / "alarms.jsonl"
    )
    for part, log in (("load", stage.traffic), ("monitor", stage.alarms)):
        workspace.spawn(python(part, "--port", str(port), "--log", str(log)), f"{part}.log")
    wait.until(lambda: stage.traffic.exists() and stage.alarms.exists(), LIMIT, "visitors and monitoring")
    return stage


def open_shop(workspace: Workspace, servers: postgres.Pair, logins: database.Logins, flag_file: Path) -> int:
    """Start the shop, and return its port when it answers."""
    connections = {
        "SHOP_PRIMARY": logins.shop_dsn(servers.primary),
        "SHOP_STANDBY": logins.shop_dsn(servers.standby),
    }
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:  # bound here, so that nobody takes the port
        descriptor = listening.fileno()
        workspace.spawn(
            python("shop", "--flags", str(flag_file), "--socket", str(descriptor)),
            "shop.log",
            env=connections,
            pass_fds=[descriptor],
        )
        port: int = listening.getsockname()[1]
    wait.until(lambda: answers(port), LIMIT, "the shop answers")
    return port


def python(part: str, *arguments: str) -> list[str]:
    """The command that runs a module of the demo as a process of its own."""
    return [sys.executable, "-m", f"dr.demo.{part}", *arguments]


def answers(port: int) -> bool:
    """Whether the shop serves its home page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
