"""Visitors of the shop: `python -m dr.demo.load --port PORT --log FILE`, until ended.

The load is open: visitors come at a fixed rate whether or not those before them were served, and each one's waiting
time counts from the moment they meant to come. A generator that waits for answers sends least when the shop is worst.
"""

import argparse
import asyncio
import random
import time
import uuid
from pathlib import Path
from typing import NamedTuple, TextIO

from dr.demo import traffic, visit

RATE = 40.0  # visitors a second
PATIENCE = 4.0  # seconds after which a visitor leaves


class Due(NamedTuple):
    """Which visitor, and when they mean to come: by the event loop's clock, and as Unix time."""

    number: int
    loop_time: float
    at: float


def main() -> None:
    """Send visitors until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.log.open("w", buffering=1) as log:  # every line is written at once, and whole
        asyncio.run(send(arguments.port, log))


async def send(port: int, log: TextIO) -> None:
    """Start one visit after another, each at its time."""
    chance = random.Random(15_05_2023)
    clock = asyncio.get_running_loop().time
    epoch = time.time() - clock()  # a clock that is set meanwhile changes no waiting time
    start = clock()
    log.write(traffic.header(epoch + start, RATE))
    under_way: set[asyncio.Task[None]] = set()
    number = 0
    while True:
        due = start + number / RATE
        await asyncio.sleep(due - clock())
        task = asyncio.create_task(one(port, visit.some_page(chance), Due(number, due, epoch + due), log))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        number += 1


async def one(port: int, wanted: visit.Request, due: Due, log: TextIO) -> None:
    """One visitor, with a session of their own."""
    status = None
    try:
        async with asyncio.timeout(PATIENCE):
            status = await visit.get(port, wanted, uuid.uuid4().hex)
    except visit.UNANSWERED:
        pass
    waited = asyncio.get_running_loop().time() - due.loop_time
    log.write(traffic.Visit(due.number, due.at, wanted.page, status, waited).line())


if __name__ == "__main__":
    main()
