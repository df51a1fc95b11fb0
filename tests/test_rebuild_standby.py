"""playbooks/rebuild-standby.yml over real sshd, with a real PostgreSQL primary."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from dr.core.step import InPlace, NotInPlace, Observation, Unknown
from dr.demo import account, wait
from dr.demo.postgres import Pair, free_port, streams
from dr.steps.playbook_run import PlaybookFailed, PlaybookRun
from tests.here import World
from tests.playbooks import prepared
from tests.sshd import Fleet

PLAYBOOKS = Path(__file__).parent.parent / "playbooks"

# PostgreSQL without a service manager.
SERVICE = """\
#!/bin/sh
cd "$(dirname "$0")"
case $1 in
  start) nohup setsid {prefix} {bin}/postgres -D {data} -p {port} -k {sockets} >>log 2>&1 & ;;
  stop) test ! -e {data}/postmaster.pid || {prefix} {bin}/pg_ctl stop -D {data} -m fast -w ;;
esac
"""


class Rebuilt:
    """The standby of a pair, which is another host's from now on."""

    def __init__(self, pair: Pair, host: Any, world: World) -> None:
        self.pair = pair
        self.data = pair.standby.data
        self.port = free_port()
        self._world = world
        who = account.choose(self.data.parent)
        self.script = host.folder / "service"
        self.script.write_text(
            SERVICE.format(
                prefix=" ".join(who.prefix), bin=who.binaries, data=self.data, port=self.port, sockets=self.data.parent
            )
        )
        self.script.chmod(0o755)
        server = "host={0} port={1} user=postgres dbname=postgres"
        self.variables: Mapping[str, Any] = {
            "as_owner": list(who.prefix),
            "programs": str(who.binaries),
            "primary": server.format("127.0.0.1", pair.primary.port),
            "standby": server.format("127.0.0.1", self.port),
            "password": pair.primary.password,
            "name": "standby",
            "data": str(self.data),
            "start": [str(self.script), "start"],
            "stop": [str(self.script), "stop"],
        }

    def look(self, **more: Any) -> Observation:
        with self._world.look(120) as here:
            return self._step(more).observe(here)

    def play(self, **more: Any) -> None:
        with self._world.act(120) as here:
            self._step(more).apply(here)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        place = str(self.data.parent)
        return psycopg.connect(host=place, port=self.port, user="postgres", dbname="postgres", autocommit=True)

    def _step(self, more: Mapping[str, Any]) -> PlaybookRun:
        return PlaybookRun(hosts="db", playbook="rebuild-standby.yml", vars={**self.variables, **more})


@pytest.fixture
def rebuilt(fresh_postgres_pair: Pair, fresh_ssh_fleet: Fleet, tmp_path: Path) -> Iterator[Rebuilt]:
    host = fresh_ssh_fleet.hosts[0]
    config = prepared(replace(fresh_ssh_fleet, hosts=[host]), tmp_path, {})
    world = World({"db": msgspec.structs.replace(config, playbooks=str(PLAYBOOKS))})
    rebuilt = Rebuilt(fresh_postgres_pair, host, world)
    yield rebuilt
    host.kill()  # and with it the server that was started there, before its files go


def test_a_diverged_server_follows_the_primary_again(rebuilt: Rebuilt) -> None:
    primary, standby = rebuilt.pair
    with standby.connect() as connection:
        connection.execute("select pg_promote()")
        connection.execute("create table lost (id int)")
    standby.stop()
    (rebuilt.data.with_suffix(".new")).mkdir()  # an earlier copy was killed in the middle
    assert isinstance(rebuilt.look(), NotInPlace)
    rebuilt.play()
    assert streams(primary)
    with primary.connect() as connection:
        connection.execute("create table kept as select 1 as id")
    with rebuilt.connect() as connection:
        wait.until(lambda: has_table(connection, "kept"), 30, "the new table has arrived")
        assert not has_table(connection, "lost")
    assert isinstance(rebuilt.look(), InPlace)
    inode = rebuilt.data.stat().st_ino
    rebuilt.play()
    assert rebuilt.data.stat().st_ino == inode


def test_a_server_that_takes_writes_is_not_overwritten(rebuilt: Rebuilt) -> None:
    primary, standby = rebuilt.pair
    with standby.connect() as connection:
        connection.execute("select pg_promote()")
    here = rebuilt.variables["primary"].replace(str(primary.port), str(standby.port))
    with pytest.raises(PlaybookFailed, match="this server takes writes; stop or fence it first"):
        rebuilt.play(standby=here)
    seen = rebuilt.look(standby=here)
    assert isinstance(seen, Unknown)
    assert "this server takes writes" in seen.why


def test_what_is_no_primary_is_not_copied(rebuilt: Rebuilt) -> None:
    swapped = rebuilt.variables["primary"].replace(str(rebuilt.pair.primary.port), str(rebuilt.pair.standby.port))
    with pytest.raises(PlaybookFailed, match="is itself in recovery"):
        rebuilt.play(primary=swapped)


def has_table(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    return connection.execute("select to_regclass(%s) is not null", [name]).fetchone() == (True,)
