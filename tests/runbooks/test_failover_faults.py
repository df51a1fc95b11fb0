"""A failover whose orchestrator and whose pool are killed and frozen at the boundaries of its entries.

Safety rule 10: two writable primaries is the state no sequence of faults may reach.
"""

from pathlib import Path

import pytest

from tests import faults
from tests.cluster import Cluster
from tests.failover import assert_safe
from tests.faults import Boundary, Fault
from tests.website import Site

FAULTS: tuple[Fault, ...] = (
    faults.killed_orchestrator, faults.frozen_orchestrator, faults.killed_pool, faults.frozen_pool,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_failover_hit_at_any_boundary_is_gone_on_with_and_never_makes_two_primaries(
    servers: Cluster, shop: Site, tmp_path: Path, failover_boundaries: tuple[Boundary, ...], fault: Fault
) -> None:
    assert_safe(servers, shop, tmp_path, failover_boundaries, fault)
