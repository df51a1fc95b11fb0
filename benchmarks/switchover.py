"""How long a client that writes all the time waits in a switchover, and what it costs it.

The real `dr run` and the hand-written order take turns on the same two servers behind the same PgBouncer; the client
inserts a row every 5 ms. The hand-written order is the shortest known one, written for this purpose: it checks nothing
before, fences nothing, and knows no way back. In the same rounds repmgr and Patroni switch servers of their own over,
whose clients find the primary by themselves, as those tools have it.
"""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psycopg

from benchmarks.goals import Goal, Row, at_least, at_most
from benchmarks.measure import Place, run
from benchmarks.repmgr import repmgr_cluster
from dr.steps.database_reprotect import DatabaseReprotect
from dr.targets.transport.data_directory import position_of
from dr.targets.transport.pgbouncer_ini import point
from tests.cluster import Cluster, Node, Served, Writer, cluster
from tests.here import World
from tests.patroni_cluster import PROGRAMS, patroni_cluster

ROUNDS = 7
RUNBOOK = """\
name: switchover
title: Change the roles
steps:
  - {{id: switch-over, kind: database.switchover, with: {{primary: {primary}, standby: {standby}, pool: pool}}}}
"""
DR, HAND, REPMGR, PATRONI = "dr", "by hand", "repmgr standby switchover", "patronictl switchover"


class Contestant(NamedTuple):
    """One way to change the roles."""

    clients: Served
    switch: Callable[[], None]
    rows: Callable[[], set[int]]
    """What the primary has."""
    prepare: Callable[[], None]
    """Have the old primary follow, and empty the table."""


def measure(place: Place) -> Iterator[Row]:
    with ExitStack() as stack:
        contestants = _contestants(place, stack)
        gaps: dict[str, list[float]] = {name: [] for name in contestants}
        errors = dict.fromkeys(contestants, 0)
        lost = 0
        for number in range(ROUNDS + 1):
            for name, contestant in contestants.items():
                with Writer(contestant.clients) as client:
                    contestant.switch()
                    client.goes_on()
                lost += len(client.acknowledged - contestant.rows()) if name == DR else 0
                if number:  # the first round does not count
                    gaps[name].append(client.gap)
                    errors[name] += len(client.errors)
                contestant.prepare()
    medians = {name: 1000 * statistics.median(of) for name, of in gaps.items()}

    def ratio(over: str, under: str, goal: Goal) -> Row:
        values = {name: medians[name] for name in (over, under)}
        return Row(
            f"switchover: a client's longest wait, {over} / {under}", values[over] / values[under], "x", goal, values
        )

    yield ratio(DR, HAND, at_most(1.3))
    for peer, goal in ((REPMGR, 4), (PATRONI, 15)):
        if peer in medians:
            yield ratio(peer, DR, at_least(goal))
    others = {name: float(count) for name, count in errors.items() if name != DR}
    yield Row("switchover: errors that the client got", errors[DR], "errors", at_most(0), others)
    yield Row("switchover: acknowledged rows lost", lost, "rows", at_most(0))


def _contestants(place: Place, stack: ExitStack) -> dict[str, Contestant]:
    servers = stack.enter_context(cluster())
    roles = [servers.first, servers.second]
    (place.work / "dr.toml").write_text(servers.toml())

    def prepare() -> None:
        _prepare(servers, *roles)

    def rows() -> set[int]:
        return servers.ids(roles[0])

    def by(switch: Callable[[Node, Node], None]) -> Contestant:
        def there() -> None:
            switch(*roles)
            roles.reverse()

        return Contestant(servers, there, rows, prepare)

    contestants = {
        DR: by(lambda old, new: _dr(place, servers, old, new)),
        HAND: by(lambda old, new: _by_hand(servers, old, new)),
        PATRONI: _patronictl(place, stack),
    }
    try:
        contestants[REPMGR] = _repmgr(stack)
    except LookupError as error:
        print(f"repmgr does not take part: {error}", file=sys.stderr)
    return contestants


def _repmgr(stack: ExitStack) -> Contestant:
    servers = stack.enter_context(repmgr_cluster())

    def prepare() -> None:
        servers.ready()
        _empty(servers.dsns()[servers.primary])

    return Contestant(servers, servers.switch_over, servers.ids, prepare)


def _patronictl(place: Place, stack: ExitStack) -> Contestant:
    servers = stack.enter_context(patroni_cluster({}))  # with its own defaults
    primary, standby = servers.roles()
    roles = [primary, standby]

    def switch() -> None:
        old, new = roles
        configuration = old.folder / f"{old.name}.yml"
        command = [str(PROGRAMS / "bin" / "patronictl"), f"--config-file={configuration}", "switchover", "shop"]
        run([*command, "--leader", old.name, "--candidate", new.name, "--force"], cwd=place.work)
        roles.reverse()

    def prepare() -> None:
        roles[:] = servers.roles()
        _empty(roles[0].dsn)

    return Contestant(servers, switch, lambda: servers.ids(roles[0]), prepare)


def _empty(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("truncate writes")


def _prepare(servers: Cluster, primary: Node, standby: Node) -> None:
    """The old primary follows, and the table is empty again."""
    with World(servers.targets(), servers.secrets).act() as here:
        DatabaseReprotect(primary=primary.name, standby=standby.name).apply(here)
    _empty(primary.server.dsn)


def _dr(place: Place, servers: Cluster, primary: Node, standby: Node) -> None:
    runbook = place.work / "switchover.yaml"
    runbook.write_text(RUNBOOK.format(primary=primary.name, standby=standby.name))
    secret = {"PGTEST": servers.secrets["env:PGTEST"]}
    run(
        [place.dr, "run", runbook, "--env", "test", "--yes"], cwd=place.work, environment={**os.environ, **secret},
    )  # fmt: skip


def _by_hand(servers: Cluster, primary: Node, standby: Node) -> None:
    console = psycopg.connect(
        f"host=127.0.0.1 port={servers.port} dbname=pgbouncer user=pgbouncer", autocommit=True,
        cursor_factory=psycopg.ClientCursor,
    )  # fmt: skip
    process = primary.process()
    assert process is not None
    with console, primary.server.connect() as old, standby.server.connect() as new:
        old.execute("checkpoint")
        new.execute("checkpoint")
        console.execute("PAUSE shop")
        os.kill(process.pid, signal.SIGINT)
        while primary.process() is not None:
            time.sleep(0.001)
        control = [f"{primary.config.programs}/pg_controldata", primary.config.data]
        told = subprocess.run(control, check=True, capture_output=True, text=True).stdout
        [lsn] = re.findall(r"Latest checkpoint location:\s+(\S+)", told)
        replayed = "select pg_last_wal_replay_lsn() - '0/0' > %s"
        while new.execute(replayed, [position_of(lsn)]).fetchone() != (True,):
            time.sleep(0.001)
        new.execute("select pg_promote(false)")
        while new.execute("select pg_is_in_recovery()").fetchone() != (False,):
            time.sleep(0.001)
        at = f"127.0.0.1:{standby.server.port}"
        servers.ini.write_text(point(servers.ini.read_text(), {"shop": at}))
        console.execute("RELOAD")
        console.execute("RESUME shop")
