"""The world as the engine sees it: everything a run reaches outside itself, behind Protocols.

A real run gets the real one (`dr.real_world`), a test a simulated one; nobody above can tell.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from dr.core import events as e
from dr.core.plan import PlannedStep
from dr.core.runbook import Retry
from dr.core.step import OutOfTime, Step, StopRequested
from dr.workers import Workers

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    choice: e.Choice
    comment: str = ""


class Clock(Protocol):
    def monotonic(self) -> float: ...

    def utc(self) -> float:
        """Seconds since 1970."""
        ...


class Stop(Protocol):
    """The operator's wish to stop; shaped as threading.Event."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; True when the wish came."""
        ...


class Targets(Protocol):
    def open(self, name: str, label: str, timeout: float) -> contextlib.AbstractContextManager[object]:
        """The target of that name. `label` tells the target who asks; no call to it takes longer than `timeout`."""
        ...


class Operator(Protocol):
    def ask(self, question: e.Question) -> Answer | None:
        """The operator's answer; None when nobody can answer now."""
        ...


class Watcher(Protocol):
    """Sees what happens, as it happens. Changes nothing."""

    def recorded(self, entries: Sequence[e.Entry]) -> None:
        """These entries are durable now."""
        ...

    def say(self, step: str, text: str) -> None: ...


class World(msgspec.Struct, frozen=True):
    """Everything the engine reaches outside itself."""

    clock: Clock
    stop: Stop
    workers: Workers
    targets: Targets
    operator: Operator
    watcher: Watcher
    step: Callable[[PlannedStep], Step]
    """Makes the step out of its line in the plan."""
    draw_wait: Callable[[Retry, int], float]
    """Seconds to wait after that attempt failed."""
    mask: Callable[[str], str]
    """Takes secret values out of a text (safety rule 13)."""


class Here:
    """What a step sees of the world while it is performed (`dr.core.step.Here`)."""

    def __init__(self, world: World, run: str, step: str, attempt: int, timeout: float) -> None:
        self.run = run
        self.step = step
        self.attempt = attempt
        self._world = world
        self._end = world.clock.monotonic() + timeout
        self._reached: dict[str, tuple[contextlib.AbstractContextManager[object], object]] = {}

    def reach(self, protocol: type[T], target: str) -> T:
        del protocol  # says what the caller expects; that the target speaks it was checked when the plan was bound
        if target not in self._reached:
            label = f"dr:{self.run}:{self.step}:{self.attempt}"
            context = self._world.targets.open(target, label, self.remaining())
            self._reached[target] = (context, context.__enter__())
        return self._reached[target][1]  # type: ignore[return-value]

    def release(self, target: str) -> None:
        if target in self._reached:
            context, _ = self._reached.pop(target)
            context.__exit__(None, None, None)

    def now(self) -> float:
        return self._world.clock.monotonic()

    def remaining(self) -> float:
        return max(0.0, self._end - self.now())

    def sleep(self, seconds: float) -> None:
        if self._world.stop.wait(min(seconds, self.remaining())):
            raise StopRequested
        if self.remaining() <= 0:
            raise OutOfTime("the time of this attempt is over")

    def say(self, text: str) -> None:
        self._world.watcher.say(self.step, self._world.mask(text))

    def close(self) -> None:
        for target in list(self._reached):
            self.release(target)
