"""A service over HTTP that keeps what it is given, as a test finds it and can have it fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Service:
    """PUT and POST keep a body under a path, DELETE forgets it, GET gives it back or 404."""

    def __init__(self) -> None:
        self.url = ""
        self.kept: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.answers: list[int] = []
        """Statuses of the next answers; such a request has no effect."""
        self.lies = False
        """It says that a change is made, and makes none."""

    def serve(self, asked: Asked) -> tuple[int, bytes]:
        self.asked.append(asked)
        if self.answers:
            return self.answers.pop(0), b""
        if asked.method == "GET":
            found = self.kept.get(asked.path)
            return (404, b"") if found is None else (200, found)
        if not self.lies and asked.method == "DELETE":
            self.kept.pop(asked.path, None)
        elif not self.lies:
            self.kept[asked.path] = asked.body
        return 201, b""


@contextmanager
def service() -> Iterator[Service]:
    """The service, until the end."""
    serving = Service()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = serving.serve(Asked(self.command, self.path, dict(self.headers), body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield serving
        finally:
            server.shutdown()
            thread.join()
