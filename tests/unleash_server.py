"""Unleash's own server on a PostgreSQL of its own: an opt-in, for it is 190 MB of npm packages (`make unleash`)."""

import json
import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from dr.demo import wait
from dr.demo.postgres import free_port, primary_in
from dr.demo.workspace import CommandFailed, Workspace

SERVER: Final = Path("build/unleash/node_modules/unleash-server/dist/server.js").absolute()
NODE: Final = shutil.which("node")
LIMIT: Final = 120.0
"""Seconds for a start; it takes 4 on an idle machine."""
TO_NOBODY: Final = {"CHECK_VERSION": "false", "SEND_TELEMETRY": "false"}
"""The server asks its maker nothing and tells it nothing."""
PROJECT: Final = "default"
ENVIRONMENTS: Final = ("development", "production")


class Running(NamedTuple):
    url: str
    token: str
    """Of an administrator."""

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """As an administrator does it by hand. Raises OSError."""
        headers = {"Authorization": self.token, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310 - http, loopback
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:  # noqa: S310 - the same
            content: bytes = answer.read()
        return content


@contextmanager
def real() -> Iterator[Running]:
    """A new server, gone afterwards."""
    with Workspace() as workspace:
        database, port, token = primary_in(workspace), free_port(), f"*:*.{secrets.token_hex(32)}"
        env = {
            **TO_NOBODY,
            "DATABASE_URL": f"postgres://postgres:{database.password}@127.0.0.1:{database.port}/postgres",
            "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(port),
            "INIT_ADMIN_API_TOKENS": token,
            "LOG_LEVEL": "error",
        }
        process = workspace.spawn([NODE or "node", SERVER], "unleash.log", env=env)
        server = Running(f"http://127.0.0.1:{port}", token)

        def answers() -> bool:
            if process.poll() is not None:
                raise CommandFailed(f"Unleash did not start\n{workspace.tail('unleash.log')}")
            try:
                server.ask("GET", "/api/admin/environments")
            except OSError:
                return False
            return True

        wait.until(answers, LIMIT, "Unleash answers")
        yield server
