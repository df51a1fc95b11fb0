"""`feature.disable` and `feature.enable`: one feature flag, off or on."""

from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, OutOfTime, Reversal, Step, target
from dr.targets.protocols import FlagState, FlagStore

EVERY: Final = 1.0
"""Seconds between two looks at a flag that is being handed out; that takes a second or half an hour."""


class FeatureFlag(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the two kinds share. Not a kind itself."""

    reversal: ClassVar[Reversal] = "undo"

    store: Annotated[str, target(FlagStore)]
    """Target that holds the flag."""
    flag: Annotated[str, msgspec.Meta(min_length=1)]
    variant: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Variant to serve by default."""

    def preview(self, here: Here) -> Evidence:
        """The flag as it stands."""
        return _facts(here.reach(FlagStore, self.store).read(self.flag))

    def observe(self, here: Here) -> Observation:
        state = self._arrived(here)
        done = state == self._wanted(state) and not self._overruled(state)
        return InPlace(_facts(state)) if done else NotInPlace(_facts(state))

    def apply(self, here: Here) -> Evidence:
        store = here.reach(FlagStore, self.store)
        before = self._arrived(here)
        if self._overruled(before):
            raise LookupError(
                f"the flag {self.flag!r} has targeting rules; they decide before the default variant does"
            )
        after = store.write(self.flag, self._wanted(before), expected=before)
        return {"before": _facts(before), "after": _facts(after)}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a flag that somebody else has changed since then is a Conflict."""
        state = _state(before)
        store = here.reach(FlagStore, self.store)
        return _facts(store.write(self.flag, state, expected=self._wanted(state)))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        state = self._arrived(here)
        return InPlace(_facts(state)) if _facts(state) == before else NotInPlace(_facts(state))

    def _arrived(self, here: Here) -> FlagState:
        """The flag, once every application is given it as it stands."""
        while (state := here.reach(FlagStore, self.store).read(self.flag)).arriving:
            here.say(f"{self.flag} is {state}, and not everyone is given that yet")
            try:
                here.sleep(EVERY)
            except OutOfTime:
                raise OutOfTime(f"{self.flag} is {state}, but not everyone was given that in time") from None
        return state

    def _wanted(self, state: FlagState) -> FlagState:
        """The flag as this step leaves it."""
        raise NotImplementedError

    def _overruled(self, state: FlagState) -> bool:
        """The default variant is not what everyone gets."""
        return self.variant is not None and state.targeted


class FeatureDisable(FeatureFlag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switch a feature off where its flag stands. Undone by what the flag was before.

    A flag that is off leaves the choice to the application's own default. Where that is not the safe one, name a
    `variant`: it is served to everyone, and the flag stays on.
    """

    kind: ClassVar[str] = "feature.disable"

    def summary(self) -> str:
        serving = f" by serving {self.variant!r} to everyone" if self.variant else ""
        return f"Switch the feature {self.flag!r} off in {self.store}{serving}"

    def _wanted(self, state: FlagState) -> FlagState:
        if self.variant is None:
            return msgspec.structs.replace(state, enabled=False)
        return msgspec.structs.replace(state, enabled=True, variant=self.variant)


class FeatureEnable(FeatureFlag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switch a feature on where its flag stands. Undone by what the flag was before."""

    kind: ClassVar[str] = "feature.enable"

    def summary(self) -> str:
        serving = f", serving {self.variant!r}" if self.variant else ""
        return f"Switch the feature {self.flag!r} on in {self.store}{serving}"

    def _wanted(self, state: FlagState) -> FlagState:
        return msgspec.structs.replace(state, enabled=True, variant=self.variant or state.variant)


def _facts(state: FlagState) -> Evidence:
    return {"enabled": state.enabled, "variant": state.variant}


def _state(facts: Evidence) -> FlagState:
    return FlagState(enabled=bool(facts["enabled"]), variant=str(facts["variant"]))
