"""A cluster that Patroni manages: asked by its REST API to change roles, and seen in PostgreSQL itself.

Patroni's word is not proof: it names a new leader as soon as that has the lock, before it takes writes. So what a
member is, and on which timeline, is asked of its PostgreSQL.
"""

import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, TypeVar

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import HttpReply, HttpRequest, LocalPath, Opening, Refused, TargetConfig, TargetUnreachable
from dr.targets.switching import Member
from dr.targets.transport import server_sql as sql
from dr.targets.transport.dsn import Address, Dsn, check_dsn
from dr.targets.transport.http_address import check_address

if TYPE_CHECKING:
    from dr.targets.transport.http_exchange import Client
    from dr.targets.transport.libpq import Client as Database

_Answer = TypeVar("_Answer", bound=msgspec.Struct)

LOOK: Final = 2.0
"""Seconds that one member may take for an answer, so that a dead one does not take the time of the others."""
MOST_TEXT: Final = 200
"""Characters kept of what Patroni says."""
ELSEWHERE: Final = "write `api_user` and `api_password`"
WELL: Final = 200
NOTHING_BEGUN: Final = (400, 409, 412)
"""Statuses by which Patroni says no before it notes the request."""
DENIED: Final = (401, 403)


class PatroniMember(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member of the cluster."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """What Patroni calls it."""
    api: str
    """Address of its REST API: https://HOST:8008."""
    at: Address
    """Where its PostgreSQL listens."""


class Patroni(TargetConfig, frozen=True, tag="patroni"):
    """A PostgreSQL cluster that Patroni manages."""

    speaks: ClassVar[tuple[str, ...]] = ("ManagedCluster",)

    members: Annotated[tuple[PatroniMember, ...], msgspec.Meta(min_length=2, max_length=20)]
    """All members that can be the primary."""
    dsn: Dsn
    """How dr logs in to each member's PostgreSQL: a libpq connection string without host and port."""
    password: SecretRef | None = None
    api_user: str = ""
    """User of Patroni's `restapi.authentication`; without one, requests that change something carry none."""
    api_password: SecretRef | None = None
    ca: LocalPath | None = None
    """Certificates to trust in place of the system's, when the REST API is asked by https."""

    def __post_init__(self) -> None:
        names = {member.name for member in self.members}
        if len(names) < len(self.members):
            raise ValueError("members: two of them have the same name")
        for member in self.members:
            check_address(member.api, ELSEWHERE)
        check_dsn("dsn", self.dsn)
        check_reference("password", self.password)
        check_reference("api_password", self.api_password)
        if bool(self.api_user) != (self.api_password is not None):
            raise ValueError("api_password: it belongs to `api_user`; write both or none")


class _Listed(msgspec.Struct):
    name: str
    role: str


class _Cluster(msgspec.Struct):
    """What GET /cluster answers, as far as it is used."""

    members: tuple[_Listed, ...]
    pause: bool = False


class _Settings(msgspec.Struct):
    """What GET /config answers, as far as it is used; the defaults are Patroni's own."""

    ttl: float = 30
    loop_wait: float = 10


def open_target(config: Patroni, opening: Opening) -> "PatroniCluster":
    """Nothing is connected yet. Raises TargetUnreachable: the file of certificates cannot be read."""
    from dr.targets.transport.http_exchange import Client

    try:
        clients = {member.name: Client(member.api, opening, config.ca) for member in config.members}
    except OSError as error:
        raise TargetUnreachable(f"{opening.name}: {config.ca}: {error.strerror or error}") from None
    return PatroniCluster(config, opening, clients)


class PatroniCluster:
    """A ManagedCluster. Any member answers for all of them."""

    def __init__(self, config: Patroni, opening: Opening, clients: "Mapping[str, Client]") -> None:
        self._config = config
        self._opening = opening
        self._clients = clients
        self._deadline = time.monotonic() + opening.timeout

    def ping(self) -> None:
        self._cluster()

    def close(self) -> None:
        pass

    def keep_within(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def leader(self) -> str:
        return next((member.name for member in self._cluster().members if member.role == "leader"), "")

    def members(self) -> Mapping[str, Member]:
        return {member.name: self._member(member) for member in self._config.members}

    def settles_within(self) -> float:
        """A dead leader's lock lasts for `ttl`; then, at the next look around, the request is taken up or dropped."""
        settings = self._ask("/config", _Settings)
        return settings.ttl + settings.loop_wait

    def switch_over(self, leader: str, to: str) -> None:
        self._request("POST", "/switchover", {"leader": leader, "candidate": to}, to)

    def fail_over(self, to: str) -> None:
        self._request("POST", "/failover", {"candidate": to}, to)

    def seconds(self, member: str, query: str) -> float:
        at = next(one.at for one in self._config.members if one.name == member)
        with self._database(at, self._left()) as client:
            return sql.seconds_in(client.first(query), member)

    def paused(self) -> bool:
        return self._cluster().pause

    def pause(self, *, paused: bool) -> None:
        """As `patronictl pause` and `resume` do: kept in the cluster's store, so each member gets to know."""
        whom = next((name for name in self._clients if self._answers(name)), "")
        if not whom:
            raise TargetUnreachable(f"{self._opening.name}: no member's Patroni answers")
        self._request("PATCH", "/config", {"pause": paused or None}, whom)

    def _member(self, member: PatroniMember) -> Member:
        managed = self._answers(member.name)
        try:
            with self._database(member.at, min(LOOK, self._left())) as client:
                [(_, timeline)] = client.rows(sql.ORIGIN)
                [(standby,)] = client.rows("select pg_is_in_recovery()")
                if not standby:
                    return Member(situation="writable", managed=managed, timeline=timeline)
                [(_, received)] = client.rows(sql.RECEIVED)
                heard = client.rows(sql.HEARD)
        except TargetUnreachable as error:
            return Member(situation=sql.pulse_of(error), managed=managed)
        return Member(
            situation="standby", managed=managed, timeline=timeline, received=int(received or 0),
            heard=float(heard[0][0]) if heard else None,
        )  # fmt: skip

    @contextmanager
    def _database(self, at: str, seconds: float) -> "Iterator[Database]":
        from dr.targets.transport import libpq

        opening = msgspec.structs.replace(self._opening, timeout=seconds)
        with closing(libpq.login(opening, self._config.dsn, self._config.password, at=at)) as client:
            yield client

    def _answers(self, name: str) -> bool:
        """Whether the Patroni beside a member answers."""
        try:
            return self._get(name, "/patroni").status == WELL
        except TargetUnreachable:
            return False

    def _cluster(self) -> _Cluster:
        return self._ask("/cluster", _Cluster)

    def _ask(self, path: str, kind: type[_Answer]) -> _Answer:
        """The answer of the first member that gives one. Raises TargetUnreachable: none does."""
        why = ""
        for name in self._clients:
            try:
                reply = self._get(name, path)
                if reply.status == WELL:
                    return msgspec.json.decode(reply.body, type=kind)
                why = f"{name} answers {reply.status}"
            except (TargetUnreachable, msgspec.DecodeError) as error:
                why = f"{name}: {error}"
        raise TargetUnreachable(f"{self._opening.name}: no member's Patroni tells of the cluster ({why})")

    def _get(self, name: str, path: str) -> HttpReply:
        return self._clients[name].send(HttpRequest(method="GET", path=path), min(LOOK, self._left()))

    def _request(self, method: str, path: str, content: object, whom: str) -> None:
        """Ask for a change. Raises Refused, or TargetUnreachable when what became of it is not known."""
        headers = {"Content-Type": "application/json", **self._credentials()}
        request = HttpRequest(method=method, path=path, headers=headers, body=msgspec.json.encode(content))
        reply = self._clients[whom].send(request, self._left())
        if reply.status == WELL:
            return
        words = reply.body.decode(errors="replace").strip()[:MOST_TEXT]
        if reply.status in NOTHING_BEGUN:
            raise Refused(f"Patroni on {whom} refuses: {words}")
        if reply.status in DENIED:
            raise Refused(f"Patroni on {whom} does not let dr do that ({reply.status}): see `api_user`")
        raise TargetUnreachable(f"Patroni on {whom} answers {reply.status}: {words}")

    def _credentials(self) -> dict[str, str]:
        if self._config.api_password is None:
            return {}
        login = f"{self._config.api_user}:{self._opening.secret(self._config.api_password)}"
        encoded = b64encode(login.encode()).decode()
        self._opening.mask(encoded)
        return {"Authorization": f"Basic {encoded}"}

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())
