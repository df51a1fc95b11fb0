"""How long a client that writes all the time waits in a switchover, and what it costs it.

The real `dr run` and the hand-written order take turns on the same two servers behind the same PgBouncer; the client
inserts a row every 5 ms. The hand-written order is the shortest known one, written for this purpose: it checks nothing
before, fences nothing, and knows no way back.
"""

import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

import psycopg

from benchmarks.goals import Row, at_most
from benchmarks.measure import Place, run
from dr.steps.database_reprotect import DatabaseReprotect
from dr.targets.transport.data_directory import position_of
from dr.targets.transport.pgbouncer_ini import point
from tests.cluster import Cluster, Node, Writer, cluster
from tests.here import World

ROUNDS = 9
RUNBOOK = """\
name: switchover
title: Change the roles
steps:
  - {{id: switch-over, kind: database.switchover, with: {{primary: {primary}, standby: {standby}, pool: pool}}}}
"""


def measure(place: Place) -> Iterator[Row]:
    gaps: dict[str, list[float]] = {"dr": [], "by hand": []}
    errors: dict[str, int] = {"dr": 0, "by hand": 0}
    lost = 0
    with cluster() as servers:
        roles = [servers.first, servers.second]
        (place.work / "dr.toml").write_text(servers.toml())

        def dr() -> None:
            _dr(place, servers, *roles)

        def hand() -> None:
            _by_hand(servers, *roles)

        contestants: dict[str, Callable[[], None]] = {"dr": dr, "by hand": hand}
        for number in range(ROUNDS + 1):
            for name, switch in contestants.items():
                with Writer(servers) as client:
                    switch()
                    client.goes_on()
                roles.reverse()
                lost += len(client.acknowledged - servers.ids(roles[0]))
                if number:  # the first round does not count
                    gaps[name].append(client.gap)
                    errors[name] += len(client.errors)
                _prepare(servers, *roles)
    medians = {name: 1000 * statistics.median(of) for name, of in gaps.items()}
    yield Row("switchover: the longest wait of a client, dr / by hand", medians["dr"] / medians["by hand"], "x",
              at_most(1.3), medians)  # fmt: skip
    yield Row(
        "switchover: errors that the client got", errors["dr"], "errors", at_most(0), {"by hand": errors["by hand"]}
    )
    yield Row("switchover: acknowledged rows lost", lost, "rows", at_most(0))


def _prepare(servers: Cluster, primary: Node, standby: Node) -> None:
    """The old primary follows, and the table is empty again."""
    with World(servers.targets(), servers.secrets).act() as here:
        DatabaseReprotect(primary=primary.name, standby=standby.name).apply(here)
    with primary.server.connect() as connection:
        connection.execute("truncate writes")


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
