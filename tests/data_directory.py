"""Data directories for servers of tests: copies of what initdb made once, at a tenth of its processor time."""

import atexit
import os
from functools import cache
from pathlib import Path

from dr.demo import account, postgres
from dr.demo.postgres import Server
from dr.demo.workspace import Workspace

PASSWORD = "not-a-secret"


def create(server: Server, who: account.Account, workspace: Workspace) -> None:
    """Make the data directory of a new server, whose superuser's password must be `PASSWORD`.

    All that one process of tests makes are twins with one system identifier; `postgres.create` makes one of its own.
    """
    workspace.run(
        [*who.prefix, "cp", "-a", _original(who, postgres.owner(workspace.directory)), server.data],
        f"{server.name}.log",
    )


@cache
def _original(who: account.Account, owner: tuple[int, int]) -> Path:
    """What initdb of that release made, to be copied; removed when this process ends."""
    workspace = Workspace()
    os.chown(workspace.directory, *owner)
    atexit.register(workspace.close)
    server = Server(workspace, who, "original", PASSWORD)
    postgres.create(server)
    return server.data
