import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dr import __version__
from dr.targets.http_endpoint import Http, HttpApi
from dr.targets.protocols import HttpRequest, TargetUnreachable
from tests.here import Secrets, opened
from tests.service import service


class Shop(BaseHTTPRequestHandler):
    """Answers with the path, except where a test needs more."""

    def do_GET(self) -> None:
        status = {"/gone": 503, "/shop/moved": 302}.get(self.path, 200)
        body = {
            "/shop/agent": self.headers["User-Agent"].encode(),
            "/shop/host": self.headers["Host"].encode(),
            "/shop/large": b"x" * 200_000,
        }.get(self.path, self.path.encode())
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the client has read enough
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The shop's HOST:PORT."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server whose answer the test writes byte by byte; the event says that the test is over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):  # the client may hang up
                client.recv(65536)
                answer(client, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def test_an_answer_is_its_status_and_body_whatever_the_status() -> None:
    with served() as at, opened(Http(url=f"http://{at}")) as site:
        site.ping()
        reply = site.get("/gone", timeout=30)
        assert (reply.status, reply.body) == (503, b"/gone")
        assert reply.seconds > 0


def test_a_path_stands_after_the_endpoints_own_address() -> None:
    with served() as at, opened(Http(url=f"http://{at}/shop/"), label="dr:r1:verify:1") as site:
        assert site.get("/cart?id=1", timeout=30).body == b"/shop/cart?id=1"
        assert site.get("/search?q=Lämpchen&p=%C3%BC", timeout=30).body == b"/shop/search?q=L%C3%A4mpchen&p=%C3%BC"
        assert site.get("/agent", timeout=30).body == f"dr/{__version__} (dr:r1:verify:1)".encode()
        assert site.get("/host", timeout=30).body == at.encode()


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with served() as at, opened(Http(url=f"http://{at}/shop")) as site:
        assert site.get("/moved", timeout=30).status == 302


def test_a_large_body_is_read_no_further_than_64_kib() -> None:
    with served() as at, opened(Http(url=f"http://{at}/shop")) as site:
        assert site.get("/large", timeout=30).body == b"x" * 65536


def drip(head: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Each byte comes before any timeout of a socket."""

    def answer(client: socket.socket, over: threading.Event) -> None:
        client.sendall(head)
        while not over.wait(0.01):
            client.sendall(b"x")

    return answer


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_does_not_outlast_the_timeout(head: bytes) -> None:
    late = pytest.raises(TargetUnreachable, match="the-target /: no answer in time")
    with answering(drip(head)) as url, opened(Http(url=url)) as site, late:
        site.get("/", timeout=0.1)


def test_a_silent_server_does_not_outlast_the_targets_own_deadline() -> None:
    def silence(_: socket.socket, over: threading.Event) -> None:
        over.wait()

    late = pytest.raises(TargetUnreachable, match="no answer in time")
    with answering(silence) as url, opened(Http(url=url), timeout=0.1) as site, late:
        site.get("/", timeout=3600)


@pytest.mark.parametrize(
    "answer,said",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this", "IncompleteRead"),
        (b"", "Remote end closed connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 5000, "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "more than 100 headers"),
    ],
)
def test_half_an_answer_is_none(answer: bytes, said: str) -> None:
    with answering(lambda client, _: client.sendall(answer)) as url, opened(Http(url=url)) as site:
        with pytest.raises(TargetUnreachable, match=said) as refused:
            site.get("/", timeout=30)
        assert len(str(refused.value)) < 300


@pytest.mark.parametrize("secret", ["h\u00fcter\r\nder-t\u00fcr", "\u20ac-the-door"])
def test_a_secret_that_no_header_can_hold_is_not_quoted(secret: str) -> None:
    """Safety rule 13: http.client quotes it as bytes, which the mask of a text does not find."""
    told = pytest.raises(TargetUnreachable, match=r"^door /open: one of its headers cannot be sent: ")
    with service() as there, told as refused:
        api = HttpApi(url=there.url, bearer="env:KEY")
        with opened(api, name="door", secrets=Secrets({"env:KEY": secret})) as door:
            door.send(HttpRequest(method="GET", path="/open"), timeout=30.0)
    assert not [word for word in ("der-t", "the-door") if word in str(refused.value)]


def test_a_closed_port_is_unreachable() -> None:
    with opened(Http(url="http://127.0.0.1:1")) as site:
        for call in (site.ping, lambda: site.get("/", timeout=30)):
            with pytest.raises(TargetUnreachable, match="Connection refused"):
                call()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"


def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with served(context) as at:
        with opened(Http(url=f"https://{at}")) as site, pytest.raises(TargetUnreachable, match="certificate verify"):
            site.get("/", timeout=30)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        with opened(Http(url=f"https://{at}")) as site:
            assert site.get("/safe", timeout=30).body == b"/safe"


@pytest.mark.parametrize(
    "url,said",
    [
        ("shop.example", "write http://HOST:PORT"),
        ("ftp://shop.example", "write http://HOST:PORT"),
        ("http://", "write http://HOST:PORT"),
        ("http://shop.example/?page=1", "write http://HOST:PORT"),
        ("http://shop.example:0", "no port 0"),
        ("http://shop.example:99999", "Port out of range"),
        ("http://user:hunter2@shop.example", "holds a user name or password"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(url: str, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said) as refused:
        msgspec.convert({"type": "http", "url": url}, Http)
    assert "hunter2" not in str(refused.value)
