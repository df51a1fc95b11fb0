"""A website asked by plain GET requests, and a service that does something when it is asked to.

http.client and ssl are loaded when the first one is opened: together they cost more than all other targets.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import HttpReply, HttpRequest, Opening, TargetConfig
from dr.targets.transport.http_address import check_address

if TYPE_CHECKING:
    from dr.targets.transport.http_exchange import Client

HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]+$")]


class Http(TargetConfig, frozen=True, tag="http"):
    """A website or service."""

    speaks: ClassVar[tuple[str, ...]] = ("HttpEndpoint",)

    url: str
    """Its address; the paths of checks are put after it."""

    def __post_init__(self) -> None:
        check_address(self.url, "an endpoint that is probed must not need one")


class HttpApi(TargetConfig, frozen=True, tag="http-api"):
    """A service that is told what to do by requests. Secrets go into headers, and only by reference."""

    speaks: ClassVar[tuple[str, ...]] = ("HttpService",)

    url: str
    """Its address; the paths of requests are put after it."""
    bearer: SecretRef | None = None
    """Token that is sent as `Authorization: Bearer TOKEN`."""
    secret_headers: Mapping[HeaderName, SecretRef] = {}
    """Other headers with secrets: the whole value stands where the reference points."""

    def __post_init__(self) -> None:
        check_address(self.url, "put it into `bearer` or `secret_headers` by reference")
        check_reference("bearer", self.bearer)
        for name, reference in self.secret_headers.items():
            check_reference(f"secret_headers.{name}", reference)


def open_target(config: Http | HttpApi, opening: Opening) -> "Website | Service":
    """The target, opened. Nothing is connected yet."""
    from dr.targets.transport import http_exchange

    client = http_exchange.Client(config.url, opening)
    if isinstance(config, Http):
        return Website(client)
    secrets = {name: opening.secret(reference) for name, reference in config.secret_headers.items()}
    if config.bearer is not None:
        secrets["Authorization"] = f"Bearer {opening.secret(config.bearer)}"
    return Service(client, secrets)


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
        return self._client.send(HttpRequest(method="GET", path=path), timeout)


class Service:
    """An HttpService."""

    def __init__(self, client: "Client", secrets: Mapping[str, str]) -> None:
        self._client = client
        self._secrets = secrets

    def ping(self) -> None:
        """It accepts connections."""
        self._client.connect()

    def close(self) -> None:
        pass

    def send(self, request: HttpRequest, *, timeout: float) -> HttpReply:
        headers = {**request.headers, **self._secrets}
        return self._client.send(msgspec.structs.replace(request, headers=headers), timeout)
