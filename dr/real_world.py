"""The real world of a run: the machine's clock, threads, and the targets of its plan with their secrets."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import msgspec

from dr.core.duration import decode_hook
from dr.core.marks import marked_texts
from dr.core.plan import PlannedStep
from dr.core.secret import is_reference
from dr.core.step import Step
from dr.secrets import Secrets
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES, open_target
from dr.targets.protocols import Opening, Target
from dr.waits import draw_wait
from dr.workers import Threads
from dr.world import Operator, Stop, Watcher, World


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)
    utc = staticmethod(time.time)


class RealTargets:
    """Opens the targets of a plan."""

    def __init__(self, configs: Mapping[str, Mapping[str, object]], secrets: Secrets) -> None:
        self._configs = {
            name: msgspec.convert(raw, TARGET_TYPES[str(raw["type"])], dec_hook=decode_hook)
            for name, raw in configs.items()
        }
        self._secrets = secrets

    @contextlib.contextmanager
    def open(self, name: str, label: str, timeout: float) -> Iterator[Target]:
        target = self._opened(name, label, timeout)
        try:
            yield target
        finally:
            target.close()

    def _opened(self, name: str, label: str, timeout: float) -> Target:
        secrets = self._secrets
        opening = Opening(
            name=name,
            label=label,
            timeout=timeout,
            secret=secrets.resolve,
            mask=secrets.remember,
            other=lambda other: self._opened(other, label, timeout),
        )
        return open_target(self._configs[name], opening)

    def resolve_secrets(self) -> None:
        """Find every secret once, so that a missing one is told before anything is touched.

        Raises:
            SecretMissing: one cannot be resolved.
        """
        for config in self._configs.values():
            for _, text in marked_texts(config, "secret"):
                if is_reference(text):  # a connection string may also stand there by itself
                    self._secrets.resolve(text)


def real_world(targets: RealTargets, secrets: Secrets, operator: Operator, watcher: Watcher, stop: Stop) -> World:
    """The real world for the engine."""
    return World(
        clock=SystemClock(),
        stop=stop,
        workers=Threads(),
        targets=targets,
        operator=operator,
        watcher=watcher,
        step=make_step,
        draw_wait=draw_wait,
        mask=secrets.mask,
    )


def make_step(planned: PlannedStep) -> Step:
    """The step of a line of the plan."""
    step: Step = msgspec.convert(planned.params, CATALOGUE[planned.kind], dec_hook=decode_hook)
    return step
