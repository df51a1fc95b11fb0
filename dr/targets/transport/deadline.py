"""A deadline for calls that know none of their own."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], *, discard: Callable[[T], object]) -> T:
    """What `call()` returns, if it does so within `seconds`; what comes later goes to `discard`.

    The call runs in a thread of its own, because neither a name look-up nor the connecting of libpq can be told when to
    give up (libpq counts whole seconds, from 2, for each address). A late thread is left to end by itself.

    Raises:
        TimeoutError: it has not returned. What `call` raises is raised here.
    """
    running = _Running(call, discard)
    threading.Thread(target=running.run, name="dr-within", daemon=True).start()
    return running.wait(seconds)


class _Running(Generic[T]):
    def __init__(self, call: Callable[[], T], discard: Callable[[T], object]) -> None:
        self._call = call
        self._discard = discard
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._late = False
        self._result: list[T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            result = self._call()
        except Exception as error:  # noqa: BLE001 - carried to the caller, who raises it
            self._error = error
        else:
            with self._lock:
                self._result.append(result)
                late = self._late
            if late:
                self._discard(result)
        self._ended.set()

    def wait(self, seconds: float) -> T:
        self._ended.wait(seconds)
        with self._lock:
            if self._result:
                return self._result[0]
            self._late = True
        if self._error is not None:
            raise self._error
        raise TimeoutError
