"""A switchover whose orchestrator is killed before every single thing it does, and what becomes of it.

Safety rule 10: two writable primaries is the state no sequence of faults may reach.
"""

import itertools
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from dr.core.step import InPlace
from dr.demo import wait
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_switchover import DatabaseSwitchover, NotReady
from dr.targets.protocols import Refused, TargetUnreachable
from tests.cluster import LIMIT, Cluster, Watch, Writer, cluster
from tests.here import World
from tests.switching import applied

BEGUN = "dr.claim"
"""What is killed before the claim has touched nothing, which is a test of its own elsewhere."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


class Roles:
    """Which server is the primary now; with each switchover that changes."""

    def __init__(self, servers: Cluster) -> None:
        self.servers = servers
        self.primary, self.standby = servers.first, servers.second

    @property
    def step(self) -> DatabaseSwitchover:
        return DatabaseSwitchover(primary=self.primary.name, standby=self.standby.name, pool="pool")

    def world(self) -> World:
        return World(self.servers.targets(), self.servers.secrets)

    def process(self, kill_at: int) -> subprocess.CompletedProcess[bytes]:
        """The switchover in a process that dies at that touch."""
        servers = self.servers
        return applied(self.step, servers.targets(), servers.secrets, servers.workspace.directory, kill_at)

    def marked(self) -> str:
        """What stands in the marks that were left; one that was cut short may be there, and empty."""
        marks = (node.server.data / BEGUN for node in self.servers.nodes)
        return "".join(mark.read_text() for mark in marks if mark.exists())

    def reprotect(self) -> None:
        """Whichever of the two takes no writes follows the other."""
        if self.standby.writable():
            self.primary, self.standby = self.standby, self.primary
        step = DatabaseReprotect(primary=self.primary.name, standby=self.standby.name)
        with self.world().act() as here:
            step.apply(here)
            assert isinstance(step.observe(here), InPlace)


def down_or_up(roles: Roles) -> None:
    """A server that was told to stop just before may still be at it, and then gives no answer; so the engine waits."""

    def answered() -> bool:
        with roles.world().look() as here:
            try:
                roles.step.observe(here)
            except TargetUnreachable:
                return False
        return True

    wait.until(answered, LIMIT, "all parts can be looked at")


def finish(roles: Roles) -> None:
    """As the engine does after a crash: look, and attempt it again where it is not in place."""
    down_or_up(roles)
    with roles.world().act() as here:
        if not isinstance(roles.step.observe(here), InPlace):
            roles.step.apply(here)
        assert isinstance(roles.step.observe(here), InPlace)


def take_back(roles: Roles) -> None:
    down_or_up(roles)
    before = {roles.primary.name: "writable", roles.standby.name: "standby", "pool": f"taken to {roles.primary.name}"}
    with roles.world().act() as here:
        said = ""
        try:
            roles.step.undo(here, before)
        except (Refused, NotReady) as refused:
            said = str(refused)
        seen = roles.step.observe(here) if said else roles.step.observe_undone(here, before)
    # Past the promotion, and past its very end, the old primary must follow before it can be the primary again.
    assert not said or "has become the primary" in said or said == f"{roles.primary.name} is fenced, not standby"
    assert isinstance(seen, InPlace)


def test_killed_before_any_touch_it_is_finished_or_taken_back_and_never_two_servers_take_writes(
    servers: Cluster,
) -> None:
    roles = Roles(servers)
    whole = roles.process(-1)
    assert whole.returncode == 0, whole.stderr.decode()
    touches = msgspec.json.decode(whole.stdout, type=list[str])
    roles.reprotect()
    first = next(number for number, touch in enumerate(touches) if BEGUN in touch)
    with Writer(servers) as client, Watch(servers) as watch:
        # To the first process that is done before its touch comes: how often it has to ask differs from time to time.
        for number in itertools.count(first):
            killed = roles.process(number)
            if killed.returncode == 0:
                roles.reprotect()
                break
            assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
            (take_back if number % 2 else finish)(roles)
            assert not roles.marked(), "it would bar any later failover"
            client.goes_on()
            roles.reprotect()
    assert number > len(touches) * 3 // 4
    assert watch.rounds > 100
    assert not watch.two_writable
    assert client.acknowledged <= servers.ids(roles.primary)
