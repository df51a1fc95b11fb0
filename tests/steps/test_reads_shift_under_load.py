"""Reads move under load, there and back, and nobody gets an error: real proxies, an open-loop client."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec
import pytest

from dr.core.duration import Duration
from dr.core.step import InPlace
from dr.demo import wait
from dr.demo.postgres import Pair
from dr.steps.reads_shift import ReadsShift
from dr.targets.postgresql import Postgresql
from dr.targets.protocols import TargetConfig
from tests.bouncer import bouncer
from tests.haproxy import haproxy
from tests.here import World
from tests.open_loop import Load, open_loop

RATE = 60.0
READERS = 8
Through = Callable[[Pair], AbstractContextManager[tuple[TargetConfig, Load]]]


@contextmanager
def through_pgbouncer(pair: Pair) -> Iterator[tuple[TargetConfig, Load]]:
    """Clients that stay connected."""
    with (
        bouncer(pair) as running,
        open_loop(lambda: running.connect("catalog_ro"), rate=RATE, readers=READERS, keep=True) as load,
    ):
        config = running.config("catalog_ro")
        yield msgspec.structs.replace(config, primary="primary", standby="standby"), load


@contextmanager
def through_haproxy(pair: Pair) -> Iterator[tuple[TargetConfig, Load]]:
    """Clients that connect for each read."""
    with (
        haproxy(pair) as running,
        open_loop(running.connect, rate=RATE, readers=READERS, keep=False) as load,
    ):
        yield running.config(left="drain"), load


@pytest.mark.parametrize("through", [through_pgbouncer, through_haproxy])
def test_no_read_fails_or_stays_unanswered_while_all_of_them_move(through: Through, postgres_pair: Pair) -> None:
    secrets = {"env:PRIMARY": postgres_pair.primary.dsn, "env:STANDBY": postgres_pair.standby.dsn}
    there = ReadsShift(router="reads", settle=Duration(0.3), seen_within=Duration(20))
    back = msgspec.structs.replace(there, to="primary")
    with through(postgres_pair) as (router, load):
        targets = {"primary": Postgresql(dsn="env:PRIMARY"), "standby": Postgresql(dsn="env:STANDBY"), "reads": router}
        world = World(targets, secrets)
        wait.until(lambda: len(load.ports) > RATE, 60, "the load is on")
        for step, server in [(there, postgres_pair.standby), (back, postgres_pair.primary)]:
            with world.act() as here:
                step.apply(here)
            with world.act() as here:
                assert isinstance(step.observe(here), InPlace)
            moved = len(load.ports)
            wait.until(lambda since=moved: len(load.ports) > since + RATE, 60, "reads after the move")  # type: ignore[misc]
            assert set(load.ports[moved + READERS :]) == {server.port}
    assert not load.errors
    assert load.unanswered == 0
