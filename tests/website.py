"""A website of one page that a test can break and mend, and two of them that share a name."""

import contextlib
import http.client
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from dr.demo.postgres import free_port


class Site:
    """Where the page is, and what it answers from now on; `answers` are used up one by one, `status` after them."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.body = b"Welcome"
        self.answers: list[int] = []
        self.asked = 0
        self.together = 0
        """The most requests that were under way at the same time."""
        self.stop: Callable[[], object] = lambda: None
        """Nobody can connect any more."""
        self.before_answer: Callable[[int], object] = lambda _: None
        """Is called with the number of the request; what it waits for, the visitor waits for."""
        self.gate = threading.Event()
        """While it is not set, nobody gets an answer."""
        self.gate.set()

    @property
    def address(self) -> str:
        return urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urllib.parse.urlsplit(self.url).port or 0


class Pair(NamedTuple):
    """Two sites at two addresses, on one port, as a name in the DNS leads to them."""

    here: Site
    there: Site

    @property
    def port(self) -> int:
        return self.here.port

    @property
    def addresses(self) -> dict[str, str]:
        return {"here": self.here.address, "there": self.there.address}

    @property
    def asked(self) -> tuple[int, int]:
        return self.here.asked, self.there.asked


@contextmanager
def website(host: str = "127.0.0.1", port: int = 0) -> Iterator[Site]:
    """The site, served until the end."""
    site = Site()
    lock = threading.Lock()
    waiting = 0

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal waiting
            with lock:
                site.asked += 1
                number = site.asked
                waiting += 1
                site.together = max(site.together, waiting)
                status = site.answers.pop(0) if site.answers else site.status
            site.before_answer(number)
            site.gate.wait()
            with lock:
                waiting -= 1
            self.send_response(status)
            self.send_header("Content-Length", str(len(site.body)))
            self.end_headers()
            self.wfile.write(site.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((host, port), Page) as server:
        site.url = f"http://{host}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        site.stop = stop
        try:
            yield site
        finally:
            site.gate.set()
            stop()


class Visit(NamedTuple):
    status: int
    page: bytes


def visit(address: str, port: int, path: str = "/") -> Visit:
    """What a new visitor sees, on a connection of his own. Raises OSError or HTTPException: nothing."""
    with contextlib.closing(http.client.HTTPConnection(address, port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Visit(answer.status, answer.read())


@contextmanager
def two_sites() -> Iterator[Pair]:
    """Each says which one it is."""
    port = free_port()
    with website("127.0.1.1", port) as here, website("127.0.1.2", port) as there:
        here.body, there.body = b"Welcome from here", b"Welcome from there"
        yield Pair(here, there)
