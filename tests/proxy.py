"""A proxy before an HTTP service that does, to the n-th request a test names, what networks and clouds do at times.

    with Proxy(localstack.endpoint) as proxy:
        proxy.on(Fault.RESET_BEFORE_REPLY, method="PUT", path="/journal/", nth=(3,))
        s3 = localstack.client("s3", endpoint=proxy.endpoint)

Nothing is left to chance or to a clock: a fault strikes by count, and what hangs does so until the test lets it go.
"""

import http.client
import socket
import struct
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

ALWAYS = range(1, sys.maxsize)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds
PER_CONNECTION = {"connection", "expect", "keep-alive", "transfer-encoding"}


class Fault(Enum):
    REFUSE = auto()  # the service is gone from this request on, which is cut: no effect; until `reopen`
    RESET_IN_BODY = auto()  # cut after half of the body, on both sides: no effect
    RESET_BEFORE_REPLY = auto()  # delivered, it took effect, and the reply is cut
    HANG = auto()  # held before it is delivered: takes effect when let go, however late
    HANG_BEFORE_REPLY = auto()  # delivered, it took effect, and the reply is held
    DAMAGE_REPLY = auto()  # delivered, it took effect, and the last byte of the reply's body is another one


@dataclass(frozen=True)
class Delay:
    """Held for a time, then delivered."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """S3's refusal, given by the proxy and not delivered: no effect. `Answer(403, "AccessDenied")`."""

    status: int
    code: str

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>the proxy says so</Message></Error>".encode()


Treatment = Fault | Delay | Answer
SLOW_DOWN = Answer(503, "SlowDown")


@dataclass(frozen=True)
class Request:
    """A request that came to the proxy, and what was done to it."""

    method: str
    path: str
    fault: Treatment | None


@dataclass
class Rule:
    fault: Treatment
    method: str | None
    path: str
    nth: Container[int]
    matched: int = field(default=0)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request if it is meant, and say whether its turn has come."""
        if self.method not in {None, method} or self.path not in path:
            return False
        self.matched += 1
        return self.matched in self.nth


class Proxy:
    """Listens on a free port of 127.0.0.1 from the start; leaving the block cuts every connection and ends it."""

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self.upstream = (address.hostname, address.port)
        self.seen: list[Request] = []
        self._rules: list[Rule] = []
        self._changed = threading.Condition()  # guards everything below and tells of changes
        self._sockets: set[socket.socket] = set()
        self._accepting = False
        self._ended = False
        self._held = 0
        self._releases = 0
        self._threads: list[threading.Thread] = []
        self._address, self._port = reserve_port()
        self.endpoint = "http://{}:{}".format(*self._address)
        self.reopen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self.refuse()
        self.release()
        for thread in self._threads:  # the list may grow meanwhile: a thread stands in it before those it starts
            thread.join()
        self._port.close()

    def on(self, fault: Treatment, *, method: str | None = None, path: str = "", nth: Container[int] = (1,)) -> None:
        """Do this to the n-th requests, counted from here, of a method and with `path` in their path and query.

        Where several rules would strike, the first one made does. `nth=ALWAYS` is every one.
        """
        with self._changed:
            self._rules.append(Rule(fault, method, path, nth))

    def calm(self) -> None:
        """Forget all rules. What is refused or held stays so."""
        with self._changed:
            self._rules.clear()

    def refuse(self) -> None:
        """Cut every connection and refuse new ones. The port stays this proxy's."""
        with self._changed:
            if self._accepting:
                self._accepting = False
                self._listening.shutdown(socket.SHUT_RDWR)
            for connection in self._sockets:
                with suppress(OSError):  # the other side was quicker
                    connection.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Accept connections again after they were refused."""
        with self._changed:
            self._accepting = True
            self._listening = socket.create_server(self._address)
        self._spawn(self._accept, self._listening)

    @property
    def held(self) -> int:
        """How many requests and replies are held at this moment."""
        return self._held

    def release(self) -> None:
        """Let go what is held: requests are delivered now, even if nobody waits for the reply any more."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def hold(self, seconds: float | None = None) -> None:
        """Wait for `release`, or for that long. Raises ConnectionAbortedError when the proxy ends meanwhile."""
        with self._changed:
            before = self._releases
            self._held += 1
            self._changed.wait_for(lambda: self._ended or (seconds is None and self._releases > before), seconds)
            self._held -= 1
        if self._ended:
            raise ConnectionAbortedError

    def fault(self, method: str, path: str) -> Treatment | None:
        """What is to be done to this request; it is counted and remembered."""
        with self._changed:
            striking = [rule.fault for rule in self._rules if rule.strikes(method, path)]
            fault = striking[0] if striking else None
            self.seen.append(Request(method, path, fault))
            return fault

    @contextmanager
    def tracked(self, connection: socket.socket) -> Iterator[socket.socket]:
        """A connection that is cut with all others, and closed at the end. Raises ConnectionAbortedError."""
        with connection:
            with self._changed:
                if not self._accepting:
                    raise ConnectionAbortedError
                self._sockets.add(connection)
            try:
                yield connection
            finally:
                with self._changed:
                    self._sockets.discard(connection)

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with listening, suppress(OSError):  # shut down: refused from here on
            while True:
                self._spawn(self._serve, *listening.accept())

    def _serve(self, connection: socket.socket, address: Any) -> None:
        # The client may go at any time, so may the service, and a frozen one is cut off when the proxy ends.
        with suppress(OSError, http.client.IncompleteRead), self.tracked(connection):
            Exchange(connection, address, self)  # type: ignore[arg-type]  # to its base class a server is an attribute


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client, request after request."""

    protocol_version = "HTTP/1.1"
    server: Proxy  # type: ignore[assignment]

    def exchange(self) -> None:
        """Take one request and do to it what the test wants."""
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED, "this proxy knows bodies by their length only")
            return
        length = int(self.headers.get("Content-Length", 0))
        fault = self.server.fault(self.command, self.path)
        if fault is Fault.RESET_IN_BODY:
            self.deliver_part(self.rfile.read(length // 2))
            reset(self.connection)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        match fault:
            case Fault.REFUSE:
                self.server.refuse()
            case Fault.RESET_BEFORE_REPLY:
                self.deliver(body)
                reset(self.connection)
                self.close_connection = True
            case Answer():
                self.reply(fault.status, {"Content-Type": "application/xml"}, fault.body)
            case Fault.HANG | Delay():
                self.server.hold(fault.seconds if isinstance(fault, Delay) else None)
                self.reply(*self.deliver(body))
            case Fault.HANG_BEFORE_REPLY:
                answer = self.deliver(body)
                self.server.hold()
                self.reply(*answer)
            case Fault.DAMAGE_REPLY:
                status, headers, content = self.deliver(body)
                self.reply(status, headers, content[:-1] + bytes([content[-1] ^ 1]))
            case None:
                self.reply(*self.deliver(body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = exchange  # noqa: N815 (names that the base class looks for)

    @contextmanager
    def service(self, body: bytes) -> Iterator[http.client.HTTPConnection]:
        """A connection on which the service was sent this request, with this body or part of it."""
        with self.server.tracked(socket.create_connection(self.server.upstream)) as connection:
            service = http.client.HTTPConnection("service")  # a name that is never looked up
            service.sock = connection
            service.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in PER_CONNECTION:
                    service.putheader(name, value)
            service.endheaders(body)
            yield service

    def deliver(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The service's answer to this request: status, headers, body."""
        with self.service(body) as service:
            response = service.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def deliver_part(self, part: bytes) -> None:
        """Send a part of the body and cut. Without a body nothing is sent: it would be the whole request."""
        if part:
            with self.service(part) as service:
                reset(service.sock)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answer the client. The length of a HEAD's answer is that of what it does not send."""
        self.send_response_only(status)
        own_length = PER_CONNECTION if self.command == "HEAD" else {*PER_CONNECTION, "content-length"}
        for name, value in headers.items():
            if name.lower() not in own_length:
                self.send_header(name, value)
        if self.command == "HEAD":
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
        """Say nothing: `Proxy.seen` is the log."""


def reserve_port() -> tuple[tuple[str, int], socket.socket]:
    """A free address, and the socket that keeps others from it: bound, never listening, it lets listeners share it."""
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("127.0.0.1", 0))
    return port.getsockname(), port


def reset(connection: socket.socket) -> None:
    """Let a connection end, when it is closed, with a TCP reset and not with what it still had to send."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
