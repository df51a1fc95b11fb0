"""The shop's monitoring: `python -m dr.demo.monitor --port PORT --log FILE`, until ended.

It visits the shop itself and knows nothing of the other visitors. Each line of its log is an alarm that begins or ends.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

from dr.demo import traffic, visit

EVERY = 0.1  # seconds between two probes
WINDOW = 20  # probes looked at together: two seconds
RAISE = 0.5  # share of failed and slow probes in the window
CLEAR = 0.05


@dataclass(frozen=True)
class Alarm:
    """An alarm that begins (`raised`) or ends, when (Unix time), and what the probes in the window had met."""

    at: float
    raised: bool
    failing: float
    seen: dict[str, int]

    def line(self) -> str:
        """The alarm's line in the log."""
        return json.dumps(asdict(self)) + "\n"


def read(path: Path) -> list[Alarm]:
    """The alarms in a log, which may be being written."""
    return [Alarm(**json.loads(line)) for line in path.read_text().split("\n")[:-1]]


class Monitor:
    """Judges the latest probes."""

    def __init__(self) -> None:
        self.raised = False
        self._met: deque[str] = deque(maxlen=WINDOW)

    def add(self, met: str, at: float) -> Alarm | None:
        """Take a probe's result, "ok" or what was wrong; returns the alarm that begins or ends with it."""
        self._met.append(met)
        failing = sum(one != "ok" for one in self._met) / WINDOW  # a window that is not full yet cannot alarm early
        if self.raised != (failing >= RAISE) and (failing >= RAISE or failing <= CLEAR):
            self.raised = not self.raised
            return Alarm(at, self.raised, failing, dict(Counter(self._met)))
        return None


def main() -> None:
    """Probe until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.log.open("w", buffering=1) as log:
        asyncio.run(watch(arguments.port, log))


async def watch(port: int, log: TextIO) -> None:
    """Start one probe after another."""
    monitor = Monitor()
    chance = random.Random(1)
    under_way: set[asyncio.Task[None]] = set()
    while True:
        task = asyncio.create_task(probe(port, visit.some_page(chance, visit.READING), monitor, log))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(EVERY)


async def probe(port: int, wanted: visit.Request, monitor: Monitor, log: TextIO) -> None:
    """Open one page and tell the monitor how it went."""
    try:
        async with asyncio.timeout(traffic.SLOW):
            status = await visit.get(port, wanted, "monitor")
        met = "ok" if status == HTTPStatus.OK else str(status)
    except TimeoutError:
        met = "slow"
    except visit.UNANSWERED:
        met = "no answer"
    alarm = monitor.add(met, time.time())
    if alarm:
        log.write(alarm.line())


if __name__ == "__main__":
    main()
