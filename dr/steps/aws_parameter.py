"""`aws.parameter`: a parameter of AWS Systems Manager gets a value."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.cloud import CloudAccount, Parameter, Parameters
from dr.targets.protocols import Conflict


class AwsParameter(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give a parameter of AWS Systems Manager a value. Undone by the value it had, or by removing it.

    A secret value is written from a reference, compared and restored in AWS's own history of the parameter, and never
    recorded.
    """

    kind: ClassVar[str] = "aws.parameter"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account."""
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_./-]+$", max_length=1011)]
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)] | None = None
    secret: SecretRef | None = None
    """Instead of `value`, for a SecureString."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.secret is None):
            raise ValueError("give exactly one of `value` and `secret`")
        check_reference("secret", self.secret)

    def summary(self) -> str:
        to = f"the secret {self.secret}" if self.secret else repr(self.value)
        return f"Set the parameter {self.name} of {self.account} to {to}"

    def preview(self, here: Here) -> Evidence:
        """The parameter as it stands."""
        return _facts(self._store(here).read(self.name))

    def observe(self, here: Here) -> Observation:
        store = self._store(here)
        facts = _facts(store.read(self.name))
        return InPlace(facts) if self._holds(store) else NotInPlace(facts)

    def apply(self, here: Here) -> Evidence:
        written = self._store(here).write(self.name, self._wanted, secret=self.secret is not None)
        return _facts(written)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a parameter that somebody else has changed since then is a Conflict."""
        store = self._store(here)
        if self._stands(store, before):
            return before
        if not self._holds(store):
            raise Conflict(f"the parameter {self.name} was changed by somebody else: it is not what this step made it")
        if not before["exists"]:
            store.remove(self.name)
            return before
        return _facts(store.restore(self.name, msgspec.convert(before["version"], int)))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        store = self._store(here)
        facts = _facts(store.read(self.name))
        return InPlace(facts) if self._stands(store, before) else NotInPlace(facts)

    def _stands(self, store: Parameters, before: Evidence) -> bool:
        """Whether the parameter is as it was."""
        now = store.read(self.name)
        if now is None or not before["exists"]:
            return now is None and not before["exists"]
        return store.same(self.name, msgspec.convert(before["version"], int))

    def _holds(self, store: Parameters) -> bool:
        return store.holds(self.name, self._wanted, secret=self.secret is not None)

    @property
    def _wanted(self) -> str:
        return self.value or self.secret or ""

    def _store(self, here: Here) -> Parameters:
        return here.reach(CloudAccount, self.account).parameters


def _facts(parameter: Parameter | None) -> Evidence:
    """What goes into the journal: a secret's version, never its value."""
    if parameter is None:
        return {"exists": False}
    facts: dict[str, object] = {"exists": True, "version": parameter.version}
    return facts if parameter.secret else {**facts, "value": parameter.value}
