"""A `Here` for tests of steps: real targets, the real clock, and a Ctrl-C that tests can press."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from dr.core.step import Evidence, Here, NotInPlace, Observation, OutOfTime, Step, StopRequested
from dr.targets.catalogue import open_target
from dr.targets.protocols import Opening, Target, TargetConfig

T = TypeVar("T")
RUN = "run" + os.environ.get("PYTEST_XDIST_WORKER", "")
"""Tests side by side are runs of their own: what is at work elsewhere is known by the run's name."""


class Secrets:
    """References resolved from a mapping; remembers what was masked."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.masked: set[str] = set()

    def resolve(self, reference: str) -> str:
        value = self.values[reference]
        self.masked.add(value)
        return value


def opening(
    name: str = "the-target",
    *,
    timeout: float = 30.0,
    secrets: Secrets | None = None,
    label: str = f"dr:{RUN}:step:1",
    targets: Mapping[str, TargetConfig] | None = None,
) -> Opening:
    """What a target is opened with in a test."""
    secrets = secrets or Secrets({})

    def other(named: str) -> Target:
        how = opening(named, timeout=timeout, secrets=secrets, label=label, targets=targets)
        return open_target((targets or {})[named], how)

    return Opening(
        name=name, label=label, timeout=timeout, secret=secrets.resolve, mask=secrets.masked.add, other=other
    )


@contextmanager
def opened(config: TargetConfig, **how: Any) -> Iterator[Any]:
    """The target of that configuration, closed afterwards."""
    target = open_target(config, opening(**how))
    try:
        yield target
    finally:
        target.close()


class TestHere:
    """A step's surroundings, as the engine makes them for one look or one apply."""

    __test__ = False

    def __init__(self, targets: Mapping[str, TargetConfig], secrets: Secrets, *, attempt: int, timeout: float) -> None:
        self.run = RUN
        self.step = "step"
        self.attempt = attempt
        self.stop = threading.Event()
        self.said: list[str] = []
        self._targets = targets
        self._secrets = secrets
        self._end = time.monotonic() + timeout
        self._opened: dict[str, Target] = {}

    def reach(self, protocol: type[T], target: str) -> T:
        config = self._targets[target]
        assert protocol.__name__ in config.speaks
        if target not in self._opened:
            label = f"dr:{self.run}:{self.step}:{self.attempt}"
            how = opening(target, timeout=self.remaining(), secrets=self._secrets, label=label, targets=self._targets)
            self._opened[target] = open_target(config, how)
        return self._opened[target]  # type: ignore[return-value]

    def release(self, target: str) -> None:
        if target in self._opened:
            self._opened.pop(target).close()

    def close(self) -> None:
        for name in list(self._opened):
            self.release(name)

    def now(self) -> float:
        return time.monotonic()

    def remaining(self) -> float:
        return max(0.0, self._end - self.now())

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(min(seconds, self.remaining())):
            raise StopRequested
        if self.remaining() <= 0:
            raise OutOfTime("the time of this attempt is over")

    def say(self, text: str) -> None:
        self.said.append(text)


class World:
    """The targets of a test; `look()` and `act()` give a `Here` as the engine would."""

    def __init__(self, targets: Mapping[str, TargetConfig], secrets: Mapping[str, str] | None = None) -> None:
        self._targets = targets
        self._secrets = Secrets(secrets or {})

    @property
    def masked(self) -> set[str]:
        """What would be masked in the journal by now."""
        return self._secrets.masked

    @contextmanager
    def look(self, timeout: float = 30.0) -> Iterator[TestHere]:
        """Before the first intent: attempt 0."""
        with self._here(0, timeout) as here:
            yield here

    @contextmanager
    def act(self, timeout: float = 30.0) -> Iterator[TestHere]:
        """While applying and after it: attempt 1."""
        with self._here(1, timeout) as here:
            yield here

    def observe(self, step: Step, timeout: float = 30.0) -> Observation:
        """What the step sees before the first intent."""
        with self.look(timeout) as here:
            return step.observe(here)

    def before(self, step: Step) -> Evidence:
        """What stands before it is applied; it is not in place."""
        seen = self.observe(step)
        assert isinstance(seen, NotInPlace)
        return seen.evidence

    def apply(self, step: Step) -> Evidence:
        with self.act() as here:
            return step.apply(here)

    def settle(self, step: Step, timeout: float = 30.0) -> Observation:
        """What the step sees after it was applied."""
        with self.act(timeout) as here:
            return step.observe(here)

    def undo(self, step: Step, before: Evidence) -> Observation:
        """Undo it; what is seen then."""
        with self.act() as here:
            step.undo(here, before)
            return step.observe_undone(here, before)

    @contextmanager
    def _here(self, attempt: int, timeout: float) -> Iterator[TestHere]:
        here = TestHere(self._targets, self._secrets, attempt=attempt, timeout=timeout)
        _: Here = here
        try:
            yield here
        finally:
            here.close()
