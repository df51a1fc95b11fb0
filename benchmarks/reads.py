"""Reads that move to the standby and back under load: errors of clients, and how long they waited.

The clients are open-loop: 100 reads a second are due whatever became of those before, and the time of each counts from
when it was due. Through PgBouncer clients stay connected; through HAProxy each read opens a connection of its own.
The whole step is performed, in stages, and seen on both servers.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import msgspec

from benchmarks.goals import Row, at_most
from benchmarks.measure import Place
from dr.core.duration import Duration
from dr.core.step import InPlace
from dr.demo import wait
from dr.demo.postgres import Pair, pair
from dr.steps.reads_shift import ReadsShift
from dr.targets.postgresql import Postgresql
from dr.targets.protocols import TargetConfig
from tests import bouncer, haproxy
from tests.here import World
from tests.open_loop import Load, open_loop

RATE, READERS = 100.0, 16
AT_REST = 300
MOVES = 3


def measure(_: Place) -> Iterator[Row]:
    with pair() as servers:
        if bouncer.BINARY:
            with bouncer.bouncer(servers) as running:
                config = msgspec.structs.replace(running.config("catalog_ro"), primary="primary", standby="standby")
                load = open_loop(lambda: running.connect("catalog_ro"), rate=RATE, readers=READERS, keep=True)
                yield from _moved("PgBouncer", servers, config, load)
        if haproxy.BINARY:
            with haproxy.haproxy(servers) as proxy:
                load = open_loop(proxy.connect, rate=RATE, readers=READERS, keep=False)
                yield from _moved("HAProxy", servers, proxy.config(left="drain"), load)


def _moved(name: str, servers: Pair, router: TargetConfig, load: AbstractContextManager[Load]) -> Iterator[Row]:
    """All reads go there and back, several times."""
    targets = {"primary": Postgresql(dsn="env:PRIMARY"), "standby": Postgresql(dsn="env:STANDBY"), "reads": router}
    world = World(targets, {"env:PRIMARY": servers.primary.dsn, "env:STANDBY": servers.standby.dsn})
    there = ReadsShift(router="reads", settle=Duration(0.5), seen_within=Duration(20))
    with load as reads:
        wait.until(lambda: len(reads.seconds) >= AT_REST, 60, "reads at rest")
        rest = len(reads.seconds)
        for step in (there, msgspec.structs.replace(there, to="primary")) * MOVES:
            with world.act() as here:
                step.apply(here)
            with world.act() as here:
                assert isinstance(step.observe(here), InPlace), f"the reads were not seen at the {step.to}"
    medians = {
        "reads": len(reads.ports),
        "slowest at rest (s)": max(reads.seconds[:rest]),
        "slowest while they move (s)": max(reads.seconds[rest:]),
    }
    failed = len(reads.errors) + reads.unanswered
    yield Row(f"reads moved through {name} {2 * MOVES} times: reads that failed", failed, "reads", at_most(0), medians)
