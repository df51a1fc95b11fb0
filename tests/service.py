"""A service over HTTP that keeps what it is given, as a test finds it and can have it fail."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


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

    def serve(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.answers:
            return Answer(self.answers.pop(0))
        if asked.method == "GET":
            found = self.kept.get(asked.path)
            return Answer(404) if found is None else Answer(200, found)
        if not self.lies and asked.method == "DELETE":
            self.kept.pop(asked.path, None)
        elif not self.lies:
            self.kept[asked.path] = asked.body
        return Answer(201)


@contextmanager
def service() -> Iterator[Service]:
    """The service, until the end."""
    serving = Service()
    with answering(serving.serve) as serving.url:
        yield serving


@contextmanager
def answering(serve: Callable[[Asked], Answer]) -> Iterator[str]:
    """The address at which every request is answered by `serve`, one at a time, until the end."""
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with one_at_a_time:
                answer = serve(Asked(self.command, self.path, dict(self.headers), body))
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
