"""`aws.lambda.invoke`: a function does something, and another (or the same) says whether it stands."""

from typing import Annotated, Any, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.core.tolerance import Tolerance, accepts, say
from dr.targets.cloud import CloudAccount

MOST_WORDS = 300
"""Characters of an answer that go into the evidence."""

FunctionName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:_$./-]+$", max_length=170)]


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that changes something. It must be harmless when repeated."""

    function: FunctionName
    """Name or ARN, with `:ALIAS` or `:VERSION` if you like."""
    payload: dict[str, Any] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that changes nothing, and whose answer shows whether the effect stands."""

    function: FunctionName
    payload: dict[str, Any] = {}
    answer: Tolerance
    """What it returns when the effect stands; of a JSON object, the value of `field`."""
    field: str | None = None


class AwsLambdaInvoke(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Call a function of AWS Lambda. Undone by another call, if the runbook has it.

    That it returns proves nothing: the step is done when `check` says so. Only what `check` answers is recorded.
    """

    kind: ClassVar[str] = "aws.lambda.invoke"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account."""
    call: Call
    check: Check
    back: Call | None = None
    """The call that undoes it; without it the step cannot be undone."""

    def reverses(self) -> Reversal:
        return "undo" if self.back else "impossible"

    def summary(self) -> str:
        return f"Call {self.call.function} of {self.account}, until {self.check.function} says {say(self.check.answer)}"

    def preview(self, here: Here) -> Evidence:
        """The state of the function; nothing is called."""
        return {"state": here.reach(CloudAccount, self.account).functions.ready(self.call.function)}

    def observe(self, here: Here) -> Observation:
        answer = self._invoke(here, self.check.function, self.check.payload)
        if self.check.field is not None and isinstance(answer, dict):
            answer = answer.get(self.check.field)
        facts = {"answer": _short(answer)}
        return InPlace(facts) if accepts(self.check.answer, answer) else NotInPlace(facts)

    def apply(self, here: Here) -> Evidence:
        self._invoke(here, self.call.function, self.call.payload)
        return {"returned": True}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        assert self.back is not None
        self._invoke(here, self.back.function, self.back.payload)
        return {"returned": True}

    def _invoke(self, here: Here, function: str, payload: dict[str, Any]) -> object:
        """What the function returns, as JSON or as text."""
        raw = here.reach(CloudAccount, self.account).functions.invoke(function, msgspec.json.encode(payload))
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return raw.decode("utf-8", "replace")


def _short(answer: object) -> object:
    """The answer, or its beginning."""
    text = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    return answer if len(text) <= MOST_WORDS else text[:MOST_WORDS] + "…"
