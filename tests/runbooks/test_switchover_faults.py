"""Both runbooks, run by the real `dr`, while its parts are killed and frozen at the boundaries of its entries.

Safety rule 10: two writable primaries is the state no sequence of faults may reach.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dr.demo import process_tree
from tests.cli.shell import PATIENCE, dr, types, until
from tests.cluster import Cluster, Watch, Writer, cluster
from tests.desk import FAIL, SWITCH, Desk
from tests.website import Site, website

HOLD = 5.0
SLACK = 10.0
"""Seconds that a loaded machine may add."""
SHORT = 3.0
"""Seconds for which something is frozen, if the run does not end before."""
BOUNDARIES = (("run-started", 1), ("apply-started", 1), ("step-done", 1), ("apply-started", 2), ("step-done", 2))
"""An entry, and the how manyth of its kind: the second ones are those of the reprotection."""


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def shop() -> Iterator[Site]:
    with website() as site:
        yield site


Fault = Callable[[Desk, subprocess.Popen[bytes]], None]


def killed_orchestrator(_: Desk, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(PATIENCE)


def frozen_orchestrator(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """Nobody else gets hold of its run while it is frozen, unless it has let go of that: paused, or at its end."""
    with frozen(psutil.Process(process.pid), process):
        if process.poll() is None:
            status = dr(desk.folder, "resume", "latest", **desk.variables).status
            assert status in {11, 13} or (status == 5 and "paused" in types(desk.folder))


def killed_primary(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    desk.primary.kill()
    process.wait(PATIENCE)
    if desk.primary.process() is None:
        desk.primary.start()


def frozen_primary(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.primary.process(), process):
        pass


def killed_standby(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    desk.standby.kill()
    process.wait(PATIENCE)
    if desk.standby.process() is None:
        desk.standby.start()


def frozen_standby(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.standby.process(), process):
        pass


def killed_pool(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    process_tree.kill(desk.servers.pool)
    process.wait(PATIENCE)
    desk.servers.start_pool()


def frozen_pool(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    with frozen(desk.servers.pool, process):
        pass


@contextlib.contextmanager
def frozen(victim: psutil.Process | None, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """For a short time, in which the run goes on as far as it gets. There may be no victim: it was just stopped."""
    tree: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = process_tree.freeze(victim) if victim else []
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SHORT)
        yield
    finally:
        for one in reversed(tree):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()


FAULTS: tuple[Fault, ...] = (
    killed_orchestrator, frozen_orchestrator, killed_primary, frozen_primary,
    killed_standby, frozen_standby, killed_pool, frozen_pool,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_switchover_hit_at_any_boundary_never_makes_two_primaries_loses_no_row_and_holds_nobody(
    servers: Cluster, shop: Site, tmp_path: Path, fault: Fault
) -> None:
    roles = [servers.first, servers.second]
    acknowledged: set[int] = set()
    with Watch(servers) as watch:
        for number, (boundary, nth) in enumerate(BOUNDARIES):
            desk = Desk(tmp_path / f"{boundary}-{nth}", servers, shop, *roles)
            with Writer(servers, first=number * 1_000_000) as client:
                with desk.background(*desk.arguments(SWITCH)) as process:
                    desk.until(boundary, process, nth)
                    fault(desk, process)
                    process.wait(2 * PATIENCE)
                desk.to_the_end()
                client.goes_on()
            acknowledged |= client.acknowledged
            roles.reverse()
            assert roles[0].writable(), (boundary, nth)
            if "frozen" not in fault.__name__:
                assert client.longest < HOLD + SLACK, (boundary, nth)
    assert watch.rounds > 100
    assert not watch.two_writable
    assert acknowledged <= servers.ids(roles[0])


def frozen_primary_that_was_woken(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """The fence is proven by starting it: frozen there, it is neither proven nor refuted."""
    until(lambda: desk.primary.process() is not None or process.poll() is not None)
    frozen_primary(desk, process)


FAILOVER_FAULTS: tuple[Fault, ...] = (
    killed_orchestrator, frozen_orchestrator, frozen_primary_that_was_woken,
    killed_standby, frozen_standby, killed_pool, frozen_pool,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAILOVER_FAULTS, ids=lambda fault: fault.__name__)
def test_a_failover_hit_at_any_boundary_is_gone_on_with_and_never_makes_two_primaries(
    servers: Cluster, shop: Site, tmp_path: Path, fault: Fault
) -> None:
    """Safety rule 10. At the first boundary the run waits for its operator: only what is frozen is tried there."""
    roles = [servers.first, servers.second]
    with Watch(servers) as watch:
        for boundary in ("run-started", "operator-answered", "apply-started", "step-done"):
            desk = Desk(tmp_path / boundary, servers, shop, *roles)
            roles[0].kill()
            if boundary == "run-started":
                with desk.background(*desk.arguments(FAIL)) as process:
                    desk.until(boundary, process)
                    fault(desk, process)
                    process.wait(2 * PATIENCE)
            else:
                assert dr(desk.folder, *desk.arguments(FAIL), **desk.variables).status == 5, "it asks before it begins"
                with desk.background("answer", "latest", "yes") as process:
                    desk.until(boundary, process)
                    fault(desk, process)
                    process.wait(2 * PATIENCE)
            desk.to_the_end()
            assert roles[1].writable(), boundary
            assert not roles[0].writable(), boundary
            roles.reverse()
    assert watch.rounds > 100
    assert not watch.two_writable


@pytest.mark.parametrize("boundary", ["run-started", "operator-answered", "apply-started", "step-done"])
def test_a_dead_primary_that_somebody_starts_during_a_failover_never_makes_two_primaries(
    servers: Cluster, shop: Site, tmp_path: Path, boundary: str
) -> None:
    """Safety rule 10. It works again, and the failover refuses; or it is fenced by then, and comes up as a standby."""
    desk = Desk(tmp_path, servers, shop, servers.first, servers.second)
    with Watch(servers) as watch:
        servers.first.kill()
        assert dr(desk.folder, *desk.arguments(FAIL), **desk.variables).status == 5, "it asks before it begins"
        with desk.background("answer", "latest", "yes") as process:
            desk.until(boundary, process)
            servers.first.launch()
            process.wait(2 * PATIENCE)
        status = dr(desk.folder, "resume", "latest", **desk.variables).status
        until(lambda: servers.first.writable() or servers.second.writable())
        assert status in {5, 0, 13}
        assert servers.first.writable() != servers.second.writable()
    assert watch.rounds > 100
    assert not watch.two_writable
