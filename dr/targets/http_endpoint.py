"""A website or service, asked by plain GET requests.

http.client and ssl are loaded when the first one is opened: together they cost more than all other targets.
"""

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from dr.targets.protocols import HttpReply, Opening, TargetConfig

if TYPE_CHECKING:
    from dr.targets.transport.http_get import Client


class Http(TargetConfig, frozen=True, tag="http"):
    """A website or service."""

    speaks: ClassVar[tuple[str, ...]] = ("HttpEndpoint",)

    url: str
    """Its address; the paths of checks are put after it."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url: write http://HOST:PORT or https://HOST:PORT, with a path if it has one")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: it holds a user name or password; an endpoint that is probed must not need one")
        if parts.port == 0:
            raise ValueError("url: there is no port 0")


def open_target(config: Http, opening: Opening) -> "Website":
    """The target, opened. Nothing is connected yet."""
    from dr.targets.transport import http_get

    return Website(http_get.Client(config.url, opening))


class Website:
    """An HttpEndpoint."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def ping(self) -> None:
        """It accepts connections. Whether it is well is a health check's question: it may be why dr was called."""
        self._client.connect()

    def close(self) -> None:
        pass

    def get(self, path: str, *, timeout: float) -> HttpReply:
        return self._client.get(path, timeout)
