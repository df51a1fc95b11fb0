"""`http.request`: a service is told to do something by a request, and asked by another whether it stands."""

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, Unknown, opposite, target
from dr.core.tolerance import Accepts, Tolerance, accepts, say
from dr.targets.protocols import HttpReply, HttpRequest, HttpService

SERVER_ERROR: Final = 500
NO_ANSWER: Final = {401, 403, 408, 425, 429}
"""Statuses that say nothing about the thing that was asked for."""
NOT_HERE: Final = {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"}
"""Headers that hold secrets, which no runbook does."""

Url = Annotated[str, msgspec.Meta(pattern=r"^/\S*$")]
Header = Annotated[str, msgspec.Meta(pattern=r"^[^\r\n]*$")]


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that shows whether the effect stands. It changes nothing."""

    path: Url
    status: Tolerance = 200
    body: Tolerance | None = None

    def summary(self) -> str:
        return f"{self.path} answers {say(self.status)}" + ("" if self.body is None else f" with {say(self.body)}")


class Tell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that changes something. It must be harmless when repeated."""

    path: Url
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[str, Header] = {}
    """Secrets stand in the target."""
    json: dict[str, Any] | list[Any] | None = None
    """Body, sent as JSON."""
    text: str | None = None
    """Body, sent as it is."""
    status: Tolerance = Accepts(range=(200, 299))

    def __post_init__(self) -> None:
        if self.json is not None and self.text is not None:
            raise ValueError("give `json` or `text`, not both")
        for name in self.headers:
            if name.lower() in NOT_HERE:
                raise ValueError(f"headers: {name} holds a secret; put it into the target by reference")

    def request(self, key: str) -> HttpRequest:
        headers = {"Idempotency-Key": key, **self.headers}
        if self.json is None:
            body = None if self.text is None else self.text.encode()
            return HttpRequest(method=self.method, path=self.path, headers=headers, body=body)
        headers = {"Content-Type": "application/json", **headers}
        return HttpRequest(method=self.method, path=self.path, headers=headers, body=msgspec.json.encode(self.json))


class RequestRefused(Exception):
    """The service answered, and with another status than was expected."""


class HttpRequestStep(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell a service to do something by a request. Undone by another one, if the runbook has it.

    A status proves nothing: the step is done when `check` is answered as it should be. Each change carries an
    `Idempotency-Key` that is the same in all attempts. Bodies of answers are compared and never recorded.
    """

    kind: ClassVar[str] = "http.request"
    reversal: ClassVar[Reversal] = "undo"

    service: Annotated[str, target(HttpService)]
    check: Ask
    change: Tell
    back: Tell | None = None
    """The request that undoes it; without it the step cannot be undone."""
    seen_within: Duration = duration("0s")
    """How long it may take after the change until `check` is answered as it should be."""
    every: Duration = duration("500ms")

    def reverses(self) -> Reversal:
        return "undo" if self.back else "impossible"

    def summary(self) -> str:
        return f"{self.change.method} {self.change.path} on {self.service}, until {self.check.summary()}"

    def takes(self) -> float:
        return self.seen_within

    def preview(self, here: Here) -> Evidence:
        """What the check says now."""
        return {"status": self._ask(here).status}

    def observe(self, here: Here) -> Observation:
        return self._await(here, stands=True)

    def apply(self, here: Here) -> Evidence:
        return self._tell(here, self.change, "")

    def undo(self, here: Here, before: Evidence) -> Evidence:
        assert self.back is not None
        return self._tell(here, self.back, ":undo")

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        return opposite(self._await(here, stands=False))

    def _await(self, here: Here, *, stands: bool) -> Observation:
        """Ask until the check is answered as it is wanted, or the time for that is over; only a change takes time."""
        end = here.now() + (self.seen_within if here.attempt else 0)
        while True:
            seen = self._judge(self._ask(here))
            if isinstance(seen, InPlace) == stands and not isinstance(seen, Unknown):
                return seen
            if here.now() >= end:
                return seen
            here.sleep(min(float(self.every), end - here.now()))

    def _judge(self, reply: HttpReply) -> Observation:
        facts = {"status": reply.status}
        if not accepts(self.check.status, reply.status):
            if reply.status >= SERVER_ERROR or reply.status in NO_ANSWER:
                return Unknown(f"{self.service} {self.check.path} answers {reply.status}, which says nothing")
            return NotInPlace(facts)
        if self.check.body is not None and not accepts(self.check.body, reply.body.decode("utf-8", "replace")):
            return NotInPlace({**facts, "findings": [f"the body is not {say(self.check.body)}"]})
        return InPlace(facts)

    def _ask(self, here: Here) -> HttpReply:
        request = HttpRequest(method="GET", path=self.check.path)
        return here.reach(HttpService, self.service).send(request, timeout=here.remaining())

    def _tell(self, here: Here, tell: Tell, what: str) -> Evidence:
        request = tell.request(f"dr:{here.run}:{here.step}{what}")
        reply = here.reach(HttpService, self.service).send(request, timeout=here.remaining())
        if not accepts(tell.status, reply.status):
            text = f"{tell.method} {tell.path}: status {reply.status}, expected is {say(tell.status)}"
            raise RequestRefused(f"{self.service} {text}")
        return {"status": reply.status}
