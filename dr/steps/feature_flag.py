"""`feature.disable` and `feature.enable`: one feature flag, off or on."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.protocols import FlagState, FlagStore


class FeatureFlag(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the two kinds share. Not a kind itself."""

    reversal: ClassVar[Reversal] = "undo"
    enabled: ClassVar[bool]

    store: Annotated[str, target(FlagStore)]
    """Target that holds the flag."""
    flag: Annotated[str, msgspec.Meta(min_length=1)]
    variant: str | None = None
    """Variant to serve by default; without one it stays as it is."""

    def summary(self) -> str:
        serving = f", serving {self.variant!r}" if self.variant else ""
        return f"Switch the feature {self.flag!r} {'on' if self.enabled else 'off'} in {self.store}{serving}"

    def preview(self, here: Here) -> Evidence:
        """The flag as it stands."""
        return _facts(here.reach(FlagStore, self.store).read(self.flag))

    def observe(self, here: Here) -> Observation:
        state = here.reach(FlagStore, self.store).read(self.flag)
        return InPlace(_facts(state)) if self._wanted(state) == state else NotInPlace(_facts(state))

    def apply(self, here: Here) -> Evidence:
        store = here.reach(FlagStore, self.store)
        before = store.read(self.flag)
        after = store.write(self.flag, self._wanted(before), expected=before)
        return {"before": _facts(before), "after": _facts(after)}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        store = here.reach(FlagStore, self.store)
        current = store.read(self.flag)
        return _facts(store.write(self.flag, _state(before), expected=current))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        state = here.reach(FlagStore, self.store).read(self.flag)
        return InPlace(_facts(state)) if _facts(state) == before else NotInPlace(_facts(state))

    def _wanted(self, state: FlagState) -> FlagState:
        variant = state.variant if self.variant is None else self.variant
        return msgspec.structs.replace(state, enabled=self.enabled, variant=variant)


class FeatureDisable(FeatureFlag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switch a feature off where its flag stands. Undone by what the flag was before."""

    kind: ClassVar[str] = "feature.disable"
    enabled: ClassVar[bool] = False


class FeatureEnable(FeatureFlag, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switch a feature on where its flag stands. Undone by what the flag was before."""

    kind: ClassVar[str] = "feature.enable"
    enabled: ClassVar[bool] = True


def _facts(state: FlagState) -> Evidence:
    return {"enabled": state.enabled, "variant": state.variant}


def _state(facts: Evidence) -> FlagState:
    return FlagState(enabled=bool(facts["enabled"]), variant=str(facts["variant"]))
