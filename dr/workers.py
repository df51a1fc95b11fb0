"""Who performs the work of a run: threads.

The engine's own thread never touches a target. So Ctrl-C is always heard, a target that hangs can be given up, and the
journal has one writer without any locking.
"""

import queue
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec


class Job(msgspec.Struct, frozen=True):
    """A piece of work under a name. Its function must not raise."""

    name: str
    work: Callable[[], object]


class Done(msgspec.Struct, frozen=True):
    job: Job
    result: object


class Workers(Protocol):
    def submit(self, job: Job) -> None: ...

    def next(self, timeout: float) -> Done | None:
        """The next finished job; None after `timeout` seconds without one."""
        ...


class Threads:
    """One daemon thread per job: a thread that hangs in a dead target must not keep the process from ending.

    (concurrent.futures was rejected: its threads are joined at exit.)
    """

    def __init__(self) -> None:
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        threading.Thread(target=self._perform, args=(job,), name=job.name, daemon=True).start()

    def next(self, timeout: float) -> Done | None:
        try:
            return self._done.get(timeout=timeout)
        except queue.Empty:
            return None

    def _perform(self, job: Job) -> None:
        self._done.put(Done(job, job.work()))
