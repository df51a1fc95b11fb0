"""A failover whose servers are killed, frozen and started by others at the boundaries of its entries.

Safety rule 10: two writable primaries is the state no sequence of faults may reach.
"""

from pathlib import Path

import psutil
import pytest

from tests import faults
from tests.cli.shell import PATIENCE, until
from tests.cluster import Cluster, Watch
from tests.desk import FAIL, Desk
from tests.failover import assert_roles, assert_safe
from tests.faults import AGREED, Boundary, Fault, assert_handed_over, hit
from tests.hanging_rewind import hanging_rewind, hangs
from tests.website import Site

FAULTS: tuple[Fault, ...] = (
    # A failover begins with a dead primary: it is hit as soon as dr has started it, fenced, if that is yet to come.
    faults.killed_primary_that_was_woken, faults.frozen_primary_that_was_woken,
    faults.killed_standby, faults.frozen_standby,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_failover_hit_at_any_boundary_is_gone_on_with_and_never_makes_two_primaries(
    servers: Cluster, shop: Site, tmp_path: Path, failover_boundaries: tuple[Boundary, ...], fault: Fault
) -> None:
    assert_safe(servers, shop, tmp_path, failover_boundaries, fault)


def test_a_dead_primary_that_is_started_whenever_it_is_down_from_any_boundary_on_never_makes_two_primaries(
    servers: Cluster, shop: Site, tmp_path: Path, failover_boundaries: tuple[Boundary, ...]
) -> None:
    """It works again, and the failover refuses; or it is fenced by then, and comes up as a standby."""
    roles = [servers.first, servers.second]
    handed_over = 0
    with Watch(servers) as watch:
        for boundary in failover_boundaries:
            desk = Desk(tmp_path / str(boundary), servers, shop, *roles)
            until(roles[0].writable)
            desk.primary_dies()
            hit(desk, FAIL, boundary, faults.restarted_primary)
            desk.to_the_end(enough=desk.primary.writable)
            if desk.primary.writable():
                assert desk.dr("answer", "latest", "abort").status == 7
            else:
                roles.reverse()
                handed_over += 1
            assert_roles(roles[0], roles[1], boundary)
    assert_handed_over(servers, watch, handed_over)


def test_a_rewind_that_a_killed_orchestrator_left_at_work_is_waited_for_and_the_server_not_started_meanwhile(
    servers: Cluster, shop: Site, tmp_path: Path
) -> None:
    """Safety rules 3 and 10: the server is not fenced then, and neither its own nor a copy of the new primary."""
    servers.first.config = hanging_rewind(servers.first.config, tmp_path / "programs")
    desk = Desk(tmp_path, servers, shop, servers.first, servers.second)
    desk.primary_dies()
    with Watch(servers) as watch:
        assert [desk.dr(*one).status for one in (desk.arguments(FAIL), AGREED)] == [5, 5]
        with desk.background(*AGREED) as process:
            orchestrator = psutil.Process(process.pid)
            until(lambda: hangs(orchestrator))
            left_behind = orchestrator.children(recursive=True)
            process.kill()
        with desk.background("resume", "latest") as process:
            resumed = psutil.Process(process.pid)
            until(lambda: any(child.name() == "flock" for child in resumed.children()))
            servers.first.launch()
            assert servers.first.process() is None
            left_behind[-1].resume()
            assert process.wait(PATIENCE) == 0
        psutil.wait_procs(left_behind, PATIENCE)
        assert servers.second.writable()
        assert servers.first.ask("select pg_is_in_recovery()")
    assert watch.turns == [servers.second.name]
