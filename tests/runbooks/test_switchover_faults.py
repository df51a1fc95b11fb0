"""`database-switchover`, run by the real `dr`, while its parts are killed and frozen at the boundaries of its entries.

Safety rule 10: two writable primaries is the state no sequence of faults may reach.
"""

from pathlib import Path

import pytest

from tests import faults
from tests.cli.shell import types
from tests.cluster import Cluster, Watch, Writer, cluster
from tests.desk import SWITCH, Desk
from tests.faults import SHORT, SLACK, Boundary, Fault, assert_handed_over, boundaries_of, hit
from tests.website import Site

HOLD = 5.0
FAULTS: tuple[Fault, ...] = (
    faults.killed_orchestrator, faults.frozen_orchestrator, faults.killed_primary, faults.frozen_primary,
    faults.killed_standby, faults.frozen_standby, faults.killed_pool, faults.frozen_pool,
)  # fmt: skip


@pytest.fixture(scope="module")
def boundaries(shop: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Boundary, ...]:
    """Those of a run in which nothing goes wrong."""
    with cluster() as servers:
        desk = Desk(tmp_path_factory.mktemp("well"), servers, shop, servers.first, servers.second)
        assert desk.dr(*desk.arguments(SWITCH)).status == 0
        return boundaries_of(types(desk.folder))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_switchover_hit_at_any_boundary_never_makes_two_primaries_loses_no_row_and_holds_nobody(
    servers: Cluster, shop: Site, tmp_path: Path, boundaries: tuple[Boundary, ...], fault: Fault
) -> None:
    roles = [servers.first, servers.second]
    acknowledged: set[int] = set()
    with Watch(servers) as watch:
        for number, boundary in enumerate(boundaries):
            desk = Desk(tmp_path / str(boundary), servers, shop, *roles)
            with Writer(servers, first=number * 1_000_000) as client:
                hit(desk, SWITCH, boundary, fault)
                desk.to_the_end()
                client.goes_on()
            acknowledged |= client.acknowledged
            roles.reverse()
            assert roles[0].writable(), boundary
            assert client.longest < HOLD + SLACK + (SHORT if "frozen" in fault.__name__ else 0.0), boundary
    assert_handed_over(servers, watch, len(boundaries))
    assert acknowledged <= servers.ids(roles[0])
