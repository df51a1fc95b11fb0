"""An open-loop client: its reads are due at a fixed rate, whatever became of those before them.

A client that waits for its answers before it asks again asks less when the service is slow, and so does not see it.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

READ = "select inet_server_port() from pg_sleep(0.05)"
"""Long enough that some are always under way: who cuts them off is seen."""
Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


@dataclass
class Load:
    """What became of the reads so far."""

    due: int = 0
    ports: list[int] = field(default_factory=list)
    """The server that answered, read by read."""
    seconds: list[float] = field(default_factory=list)
    """From when the read was due to its answer: what it waited for others counts."""
    errors: list[psycopg.Error] = field(default_factory=list)

    @property
    def unanswered(self) -> int:
        return self.due - len(self.ports)


@contextmanager
def open_loop(connect: Connect, *, rate: float, readers: int, keep: bool) -> Iterator[Load]:
    """So many reads a second until the end, by so many readers; every read that was due is over then.

    Args:
        connect: opens a connection.
        rate: reads a second, all readers together.
        readers: reads that can be under way at once.
        keep: each reader keeps one connection; otherwise each read opens its own.
    """
    load, over = Load(), threading.Event()
    numbers, turn = itertools.count(), threading.Lock()
    began = time.monotonic()

    def run() -> None:
        kept = connect() if keep else None
        while True:
            with turn:
                due = began + next(numbers) / rate
                if over.wait(max(0.0, due - time.monotonic())):
                    break
                load.due += 1
            try:
                load.ports.append(_read(kept, connect))
                load.seconds.append(time.monotonic() - due)
            except psycopg.Error as error:
                load.errors.append(error)
        if kept is not None:
            kept.close()

    threads = [threading.Thread(target=run) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def _read(kept: psycopg.Connection[tuple[object, ...]] | None, connect: Connect) -> int:
    """The port of the server that answered."""
    if kept is not None:
        [(port,)] = kept.execute(READ).fetchall()
    else:
        with connect() as client:
            [(port,)] = client.execute(READ).fetchall()
    return int(str(port))
