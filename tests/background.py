"""Something that goes on beside a test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Errors = type[Exception] | tuple[type[Exception], ...]


@contextmanager
def repeating(work: Callable[[], object], *, every: float = 0.0, expected: Errors = ()) -> Iterator[list[Exception]]:
    """`work` is done again and again in a thread; yields the `expected` errors it got. Any other one fails the test."""
    over = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        while not over.wait(every):
            try:
                work()
            except expected as error:
                errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        over.set()
        thread.join()
