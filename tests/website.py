"""A website of one page that a test can break and mend."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
        self.before_answer: Callable[[int], object] = lambda _: None
        """Is called with the number of the request; what it waits for, the visitor waits for."""
        self.gate = threading.Event()
        """While it is not set, nobody gets an answer."""
        self.gate.set()


@contextmanager
def website() -> Iterator[Site]:
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.gate.set()
            server.shutdown()
            thread.join()
