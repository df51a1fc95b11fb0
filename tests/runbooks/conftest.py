"""What the matrices of faults share."""

from collections.abc import Iterator

import pytest

from tests.cluster import Cluster, cluster
from tests.failover import boundaries_without_fault
from tests.faults import Boundary
from tests.website import Site, website


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    with website() as site:
        yield site


@pytest.fixture(scope="module")
def failover_boundaries(shop: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Boundary, ...]:
    return boundaries_without_fault(shop, tmp_path_factory.mktemp("without-fault"))
