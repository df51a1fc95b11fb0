"""The soak itself, which `make soak` runs for as long as you like: a round ends well, or is seen not to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import soak
from tests.cluster import Cluster, cluster
from tests.website import Site, website


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def shop() -> Iterator[Site]:
    with website() as site:
        yield site


def test_a_round_changes_the_primary_whatever_comes_and_one_that_loses_a_row_is_seen(
    servers: Cluster, shop: Site, tmp_path: Path
) -> None:
    roles = [servers.first, servers.second]
    assert "dr killed" in soak.soak_once(servers, shop, tmp_path / "well", roles, seed=1)
    assert [node.name for node in roles] == ["db2", "db1"]
    with servers.second.server.connect() as primary:
        primary.execute("create rule lost as on insert to writes where new.id % 50 = 0 do instead nothing")
    with pytest.raises(AssertionError, match="rows are lost"):
        soak.soak_once(servers, shop, tmp_path / "lost", roles, seed=2)
