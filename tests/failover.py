"""`database-failover`, run by the real `dr` and hit by one fault at each boundary of its entries in turn."""

from pathlib import Path
from typing import Final

from tests.cli.shell import journal, types
from tests.cluster import Cluster, Node, Watch, Writer, cluster
from tests.desk import FAIL, NEVER_RECEIVED, Desk
from tests.faults import AGREED, SLACK, Boundary, Fault, assert_handed_over, boundaries_of, hit
from tests.website import Site

HELD: Final = 30.0
"""Seconds that PgBouncer holds a client at most, whatever becomes of dr."""


def boundaries_without_fault(shop: Site, folder: Path) -> tuple[Boundary, ...]:
    """Those of a run in which nothing goes wrong but that its primary is dead, and must be rewound."""
    with cluster() as servers:
        desk = Desk(folder, servers, shop, servers.first, servers.second)
        desk.primary_dies()
        assert [desk.dr(*one).status for one in (desk.arguments(FAIL), AGREED, AGREED)] == [5, 5, 0]
        assert {"way": "rewound"} in [event.get("claim") for event in journal(desk.folder)]
        return boundaries_of(types(desk.folder))


def assert_safe(servers: Cluster, shop: Site, folder: Path, boundaries: tuple[Boundary, ...], fault: Fault) -> None:
    """Hit at any boundary it is gone on with, two servers never take writes, and what the new one took is not lost."""
    roles = [servers.first, servers.second]
    acknowledged: set[int] = set()
    with Watch(servers) as watch:
        for number, boundary in enumerate(boundaries):
            desk = Desk(folder / str(boundary), servers, shop, *roles)
            with Writer(servers, first=number * 1_000_000) as client:
                desk.primary_dies()
                last = client.begun
                hit(desk, FAIL, boundary, fault)
                desk.to_the_end()
                client.goes_on()
            acknowledged |= {row for row in client.acknowledged if row > last}
            assert client.longest < HELD + SLACK, boundary
            if desk.primary.process() is None:
                desk.primary.start()
            roles.reverse()
            assert_roles(roles[0], roles[1], boundary)
            assert NEVER_RECEIVED not in servers.ids(roles[0]), boundary
    assert_handed_over(servers, watch, len(boundaries))
    assert acknowledged <= servers.ids(roles[0])


def assert_roles(primary: Node, standby: Node, boundary: Boundary) -> None:
    assert primary.writable(), boundary
    assert standby.ask("select pg_is_in_recovery()"), boundary
