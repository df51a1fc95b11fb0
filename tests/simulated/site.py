"""What the steps of a simulated run act on: a value per step, `off` or `on`, that fails as scripted."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, TypeVar

import msgspec

from dr.core.plan import Plan, PlannedStep
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, Unknown
from tests.simulated.clock import Clock
from tests.simulated.journal import Disk, Fuse
from tests.simulated.referee import Referee, rule

Act = Literal["works", "refuses", "breaks-off", "lies", "comes-late", "hangs"]
"""`refuses`: an error and no effect. `breaks-off`: an error after the effect. `lies`: a success without effect.
`comes-late`: the effect appears only after `LATE` seconds. `hangs`: and the answer even later.
"""
Look = Literal["sees", "blind", "raises"]
LATE = 20.0

T = TypeVar("T")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls for one step go, one after the other; the last word holds for all that follow."""

    apply: Sequence[Act] = ("works",)
    undo: Sequence[Act] = ("works",)
    look: Sequence[Look] = ("sees",)
    took: float = 0.1
    """Seconds of each call."""
    already: bool = False
    """The effect is there before the run begins."""


class Site:
    """The outside of a run. It outlives the processes that work on it."""

    def __init__(self, plan: Plan, scripts: dict[str, Script], clock: Clock, disk: Disk) -> None:
        self.clock = clock
        self.disk = disk
        self.referee = Referee(plan, disk)
        self.fuse = Fuse()
        self.calls: list[tuple[str, str]] = []
        self.labels: list[str] = []
        self.last_took = 0.0
        self.scripts = {step.id: scripts.get(step.id, Script()) for step in plan.steps()}
        self._values = {step: "on" if script.already else "off" for step, script in self.scripts.items()}
        self._underway: list[tuple[float, str, str]] = []

    def effects(self) -> dict[str, str]:
        """The value of each step, as it is now."""
        for due, step, value in list(self._underway):
            if due <= self.clock.now:
                self._values[step] = value
                self._underway.remove((due, step, value))
        return self._values

    def look(self, here: Here) -> Observation:
        self.referee.look(here.step)
        match self._call("look", here.step, self.scripts[here.step].look):
            case "blind":
                return Unknown("the view is blocked")
            case "raises":
                raise ConnectionError("no route to the site")
        value = self.effects()[here.step]
        return InPlace({"value": value}) if value == "on" else NotInPlace({"value": value})

    def apply(self, here: Here) -> Evidence:
        self.referee.apply(here.step, here.attempt)
        return self._change("apply", here.step, "on", self.scripts[here.step].apply)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        self.referee.undo(here.step, here.attempt)
        return self._change("undo", here.step, str(before.get("value", "off")), self.scripts[here.step].undo)

    def health(self) -> Observation:
        """The service is well when everything is on, and again when everything is off."""
        self.referee.look("steady-state")
        self._call("look", "steady-state", ("sees",))
        off = sorted(step for step, value in self.effects().items() if value == "off")
        if off and len(off) < len(self.scripts):
            return NotInPlace({"findings": [f"{step} is off" for step in off]})
        return InPlace({"probes": 3})

    def _change(self, what: str, step: str, value: str, script: Sequence[Act]) -> Evidence:
        mode = self._call(what, step, script)
        if mode in ("comes-late", "hangs"):
            self._underway.append((self.clock.now + LATE, step, value))
        elif mode in ("works", "breaks-off"):
            self.effects()[step] = value
        self.fuse.point(f"after {what} {step}")
        if mode == "hangs":
            self.last_took = LATE * 10
        if mode == "refuses":
            raise ConnectionRefusedError("the site refuses")
        if mode == "breaks-off":
            raise ConnectionResetError("the site broke off")
        return {"said": "done"}

    def _call(self, what: str, step: str, script: Sequence[T]) -> T:
        """The mode of this call."""
        rule(len(self.calls) < 500, "rule 15: this run does not come to an end")
        self.fuse.point(f"before {what} {step}")
        count = self.calls.count((what, step))
        self.calls.append((what, step))
        self.last_took = self.scripts[step].took if step in self.scripts else 0.1
        return script[min(count, len(script) - 1)]

    @contextlib.contextmanager
    def open(self, name: str, label: str, timeout: float) -> Iterator["Site"]:
        """As `dr.world.Targets`: the site is the only target there is."""
        rule(name == "site" and timeout >= 0, f"{name} is opened for {timeout} s")
        self.labels.append(label)
        yield self


class Switch(Step, frozen=True):
    """Turns its value on; can be undone."""

    kind: ClassVar[str] = "switch"
    reversal = "undo"

    def observe(self, here: Here) -> Observation:
        return here.reach(Site, "site").look(here)

    def apply(self, here: Here) -> Evidence:
        return here.reach(Site, "site").apply(here)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        return here.reach(Site, "site").undo(here, before)


class BlindSwitch(Step, frozen=True):
    """The same, but nobody can see its value."""

    kind: ClassVar[str] = "blind-switch"
    observable = False

    def apply(self, here: Here) -> Evidence:
        return here.reach(Site, "site").apply(here)


class Watch(Step, frozen=True):
    """Only looks."""

    kind: ClassVar[str] = "watch"
    acts = False

    def observe(self, here: Here) -> Observation:
        return here.reach(Site, "site").look(here)


class Health(Step, frozen=True):
    """The steady state."""

    kind: ClassVar[str] = "health"
    acts = False

    def observe(self, here: Here) -> Observation:
        return here.reach(Site, "site").health()


KINDS: dict[str, type[Step]] = {kind.kind: kind for kind in (Switch, BlindSwitch, Watch, Health)}


def make_step(planned: PlannedStep) -> Step:
    return KINDS[planned.kind]()
