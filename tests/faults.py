"""What is killed, frozen and started while `dr` changes a primary, and the boundaries at which that is done."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import psutil

from dr.demo import process_tree
from tests.background import repeating
from tests.cli.shell import PATIENCE, dr, types, until
from tests.cluster import Cluster, Node, Watch
from tests.desk import Desk

SLACK: Final = 10.0
"""Seconds that a loaded machine may add."""
SHORT: Final = 2.0
"""Seconds for which something is frozen, if the run does not end before."""
AT_ONCE: Final = ("paused", "operator-answered", "run-ended")
"""Nothing outside is looked at or touched between such an entry and the one before it."""
AGREED: Final = ("answer", "latest", "yes")


class Boundary(NamedTuple):
    """An entry, and the how manyth of its type."""

    entry: str
    nth: int

    def __str__(self) -> str:
        return f"{self.entry}-{self.nth}"


def boundaries_of(entries: Sequence[str]) -> tuple[Boundary, ...]:
    """All that a run had, by the types of its entries. Of entries that nothing comes between, the last one counts."""
    following = (*entries[1:], "")
    return tuple(
        Boundary(entry, entries[: place + 1].count(entry))
        for place, entry in enumerate(entries)
        if following[place] not in AT_ONCE
    )


def hit(desk: Desk, runbook: str, boundary: Boundary, fault: "Fault") -> None:
    """Run it, agreeing where it asks, and do that to it at this boundary; then until it ends or asks."""
    arguments = desk.arguments(runbook)
    while True:
        with desk.background(*arguments) as process:
            desk.until(boundary.entry, process, boundary.nth)
            if desk.reached(*boundary):
                fault(desk, process)
                process.wait(2 * PATIENCE)
                return
        assert types(desk.folder)[-1] == "paused", f"it has never been at {boundary}"
        arguments = AGREED


def assert_handed_over(servers: Cluster, watch: Watch, times: int) -> None:
    """Each time from the one to the other, and never back."""
    one, other = servers.first.name, servers.second.name
    assert watch.rounds > 100
    assert not watch.two_writable
    assert watch.turns == [other if turn % 2 else one for turn in range(times + 1)]


Fault = Callable[[Desk, subprocess.Popen[bytes]], None]


def killed_orchestrator(_: Desk, process: subprocess.Popen[bytes]) -> None:
    process.kill()


def frozen_orchestrator(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """Nobody else gets hold of its run while it is frozen, unless it has let go of that: paused, or at its end."""
    with frozen(psutil.Process(process.pid)):
        if process.poll() is None:
            status = dr(desk.folder, "resume", "latest", **desk.variables).status
            assert status in {11, 13} or (status == 5 and "paused" in types(desk.folder))


def killed_primary(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    killed(desk.primary, process)


def frozen_primary(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.primary.process()):
        ended_or_long_enough(process)


def killed_standby(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    killed(desk.standby, process)


def frozen_standby(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.standby.process()):
        ended_or_long_enough(process)


def killed_pool(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    process_tree.kill(desk.servers.pool)
    process.wait(PATIENCE)
    desk.servers.start_pool()


def frozen_pool(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.servers.pool):
        ended_or_long_enough(process)


def killed_primary_that_was_woken(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """A dead one cannot be killed: as soon as the failover has started it, to prove its fence."""
    until(lambda: desk.primary.process() is not None or process.poll() is not None)
    desk.primary.kill()
    process.wait(PATIENCE)


def frozen_primary_that_was_woken(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """The same: the fence is neither proven nor refuted then."""
    until(lambda: desk.primary.process() is not None or process.poll() is not None)
    frozen_primary(desk, process)


def restarted_primary(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """Something that knows nothing of dr starts it whenever it is down."""
    with kept_up(desk.primary):
        process.wait(2 * PATIENCE)


def killed(node: Node, process: subprocess.Popen[bytes]) -> None:
    """When the run has got as far as it gets, somebody starts the server, if dr has not."""
    node.kill()
    process.wait(PATIENCE)
    if node.process() is None:
        node.start()


def ended_or_long_enough(process: subprocess.Popen[bytes]) -> None:
    """The run goes on as far as it gets while something is frozen."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SHORT)


@contextlib.contextmanager
def frozen(victim: psutil.Process | None) -> Iterator[None]:
    """There may be no victim: it was just stopped."""
    tree: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = process_tree.freeze(victim) if victim else []
    try:
        yield
    finally:
        for one in reversed(tree):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()


@contextlib.contextmanager
def kept_up(node: Node) -> Iterator[None]:
    """As a service manager does (systemd's `Restart=always`)."""

    def restart() -> None:
        if node.process() is None:
            node.launch()

    with repeating(restart, every=0.01):
        yield
