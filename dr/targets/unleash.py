"""Feature flags of Unleash, by its Admin API. http.client and ssl are loaded when the store is opened."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Final
from urllib.parse import quote

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import FlagState, HttpReply, HttpRequest, Opening, TargetConfig, TargetUnreachable
from dr.targets.transport.flags import listed, must_write
from dr.targets.transport.http_address import check_address

if TYPE_CHECKING:
    from dr.targets.transport.http_exchange import Client

LARGEST: Final = 1024 * 1024
"""Bytes of an answer (safety rule 15): a flag comes with the rules of all its environments."""
MOST_TEXT: Final = 200
"""Characters of an error that Unleash words."""
OK: Final = 200
SAYS_NO: Final = {400, 404}
"""Of the request. Any other status says something about the server or the token, and nothing about the flag."""

Name = Annotated[str, msgspec.Meta(min_length=1)]


class Unleash(TargetConfig, frozen=True, kw_only=True, tag="unleash"):
    """A project of Unleash, in one of its environments."""

    speaks: ClassVar[tuple[str, ...]] = ("FlagStore",)

    url: str
    """Address of the server, without `/api`."""
    token: SecretRef
    """Token for the Admin API: a personal one or a service account's."""
    environment: Name
    """Where flags are switched: `production`."""
    project: Name = "default"
    """Id of the project."""

    def __post_init__(self) -> None:
        check_address(self.url, "put a token into `token` by reference")
        check_reference("token", self.token)


def open_target(config: Unleash, opening: Opening) -> "UnleashStore":
    """The store, opened. Nothing is asked yet."""
    from dr.targets.transport import http_exchange

    return UnleashStore(config, opening, http_exchange.Client(config.url, opening))


class UnleashStore:
    """A FlagStore. A flag is on or off in the environment; who gets it there is left to its strategies.

    Unleash has no compare-and-set: of two who switch a flag at the same moment, the later one wins. It gives a flag
    that is switched on without an active strategy its default one, which is everyone.
    """

    def __init__(self, config: Unleash, opening: Opening, client: "Client") -> None:
        self._client = client
        self._name = opening.name
        self._timeout = opening.timeout
        self._token = opening.secret(config.token)
        self._environment = config.environment
        self._features = f"/api/admin/projects/{_segment(config.project)}/features"

    def ping(self) -> None:
        """The token is good and the environment is there."""
        self._ask("GET", f"/api/admin/environments/{_segment(self._environment)}")

    def close(self) -> None:
        pass

    def read(self, flag: str) -> FlagState:
        reply = self._ask("GET", f"{self._features}/{_segment(flag)}")
        try:
            feature = msgspec.json.decode(reply.body, type=_Feature)
        except msgspec.DecodeError as error:
            raise TargetUnreachable(f"{self._name}: the answer is not one of Unleash's Admin API: {error}") from None
        states = {each.name: each.enabled for each in feature.environments}
        if self._environment not in states:
            raise LookupError(f"the flag {flag!r} has no environment {self._environment!r}, only {listed(states)}")
        return FlagState(enabled=states[self._environment], variant="")

    def write(self, flag: str, state: FlagState, *, expected: FlagState) -> FlagState:
        if state.variant:
            raise LookupError(f"Unleash draws variants by weight; dr switches flags on and off: not {state.variant!r}")
        if must_write(flag, self.read(flag), state, expected=expected):
            environment = f"{self._features}/{_segment(flag)}/environments/{_segment(self._environment)}"
            self._ask("POST", f"{environment}/{'on' if state.enabled else 'off'}")
        return self.read(flag)

    def _ask(self, method: str, path: str) -> HttpReply:
        """The answer, if it is that it was done.

        Raises:
            LookupError: Unleash says no.
            TargetUnreachable: it did not answer, or not this token.
        """
        request = HttpRequest(method=method, path=path, headers={"Authorization": self._token})
        reply = self._client.send(request, self._timeout, LARGEST)
        if reply.status == OK:
            return reply
        said = f"{self._name}: Unleash answers {reply.status}: {_message(reply.body)}"
        raise LookupError(said) if reply.status in SAYS_NO else TargetUnreachable(said)


class _Environment(msgspec.Struct, frozen=True):
    """A flag in one environment; its strategies are left alone."""

    name: str
    enabled: bool


class _Feature(msgspec.Struct, frozen=True):
    """What dr reads of a flag."""

    environments: list[_Environment]


class _Error(msgspec.Struct, frozen=True):
    message: str


def _message(body: bytes) -> str:
    """What Unleash says; nothing where something else has answered."""
    try:
        return msgspec.json.decode(body, type=_Error).message[:MOST_TEXT]
    except msgspec.DecodeError:
        return "without a word of its own"


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever stands in it."""
    return quote(name, safe="")
