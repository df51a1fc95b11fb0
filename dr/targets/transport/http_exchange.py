"""One request within a deadline, on a connection of its own, as a new user's is."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final
from urllib.parse import quote, urlsplit

from dr import __version__
from dr.targets.protocols import HttpReply, HttpRequest, Opening, TargetUnreachable
from dr.targets.transport import tcp
from dr.targets.transport.deadline import within

MAX_BODY: Final = 65_536
AS_THEY_ARE: Final = "!$%&'()*+,/:;=?@[]~"
"""Characters of a path and query that have a meaning there; others, such as an umlaut, are percent-encoded."""
NO_HEADER: Final = "one of its headers cannot be sent: it holds a line break, or a character beyond Latin-1"
MOST_TEXT: Final = 200
"""Characters of an error: a server may answer with anything (safety rule 15)."""


class Client:
    """Sends requests to one address. Threads may share it."""

    def __init__(self, url: str, opening: Opening, ca: str | None = None) -> None:
        """`ca` is a file of certificates to trust in place of the system's. Raises OSError: it cannot be read."""
        parts = urlsplit(url)
        self._name = opening.name
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._headers = {"User-Agent": f"dr/{__version__} ({opening.label})", "Connection": "close"}
        self._deadline = time.monotonic() + opening.timeout

    def connect(self) -> None:
        """Connect and hang up. Raises TargetUnreachable."""
        with self._reachable(self._deadline):
            self._connect(self._deadline).close()

    def send(self, request: HttpRequest, timeout: float, most: int = MAX_BODY) -> HttpReply:
        """The answer, whatever its status. A redirect is not followed, and nothing is sent twice.

        Args:
            request: what is sent.
            timeout: seconds for all of it.
            most: bytes of the body that are read.

        Raises:
            TargetUnreachable: no whole answer within `timeout`, counted from the name look-up to the body's last byte.
        """
        began = time.monotonic()
        end = min(began + timeout, self._deadline)
        with self._reachable(end, request.path), self._connect(end) as sock, _hanging_up(sock, end):
            connection = self._over(sock)
            try:
                path = quote(self._prefix + request.path, safe=AS_THEY_ARE)
                headers = {**self._headers, **request.headers}
                try:
                    connection.request(request.method, path, body=request.body, headers=headers)
                except ValueError:  # it quotes the header, which may hold a secret, as bytes: nothing masks that
                    raise http.client.HTTPException(NO_HEADER) from None
                with connection.getresponse() as response:
                    body = response.read(most)
                    if response.length and len(body) < most:
                        raise http.client.IncompleteRead(body, response.length)
            finally:
                connection.close()
            seconds = time.monotonic() - began
            if began + seconds >= end:  # without a length, a body that was hung up on looks whole
                raise TimeoutError
            return HttpReply(status=response.status, body=body, seconds=seconds)

    def _connect(self, end: float) -> socket.socket:
        """Connect by `end`, looking up the name included."""
        left = max(0.001, end - time.monotonic())
        call = partial(tcp.connect, self._host, self._port, left)
        return within(left, call, discard=socket.socket.close)

    def _over(self, sock: socket.socket) -> http.client.HTTPConnection:
        """An HTTP connection over the connected socket."""
        connection = http.client.HTTPConnection(self._host, self._port)
        if self._tls is not None:
            connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            sock = self._tls.wrap_socket(sock, server_hostname=self._host)
        connection.sock = sock
        return connection

    @contextmanager
    def _reachable(self, end: float, path: str = "") -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            if isinstance(error, TimeoutError) or time.monotonic() >= end:
                reason = "no answer in time"
            raise TargetUnreachable(f"{self._name} {path}".rstrip() + f": {reason[:MOST_TEXT]}") from None


@contextmanager
def _hanging_up(sock: socket.socket, end: float) -> Iterator[None]:
    """Hang up at `end`. A socket's own timeout begins anew with each byte, and a sick server may well drip."""
    handle = sock.dup()  # stays valid when TLS takes the socket over

    def hang_up() -> None:
        with suppress(OSError):  # the other side was quicker
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        handle.close()
