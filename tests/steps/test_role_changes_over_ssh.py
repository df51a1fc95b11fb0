"""Role changes of servers on hosts of their own, over SSH; the hosts are real sshd, the servers on them are real."""

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest

from dr.core.duration import parse_duration
from dr.core.step import InPlace
from dr.demo import process_tree, wait
from dr.errors import NeedsOperator
from dr.steps.database_failover import DatabaseFailover, Despite, NotReady
from dr.steps.database_reprotect import DatabaseReprotect
from dr.steps.database_restore import DatabaseRestore
from dr.steps.database_switchover import DatabaseSwitchover
from dr.targets.ansible import AnsibleHosts
from dr.targets.fence_commands import FenceCommands
from dr.targets.fence_playbook import FencePlaybook
from dr.targets.protocols import TargetConfig
from dr.targets.switching import DatabaseServer
from dr.targets.transport.fresh_directory import Backup
from tests.cli.shell import ROOT, dr, write
from tests.cluster import LIMIT, Cluster, Watch, Writer, cluster
from tests.here import World
from tests.playbooks import HEAD
from tests.sshd import Fleet, Host, fleet, sh

IS_OFF = """\
  - name: is it off
    shell: case $(ps -o stat= -p {{ process }}) in ""|Z*) ;; *) exit 1;; esac
    changed_when: false
"""
SWITCH = {"off.yml": "  - {name: power off, command: 'kill -KILL {{ process }}'}\n", "is-off.yml": IS_OFF}


@dataclass(frozen=True)
class Far:
    """A cluster whose servers run on hosts of their own."""

    cluster: Cluster
    hosts: Fleet

    def world(self, **more: TargetConfig) -> World:
        return World({**self.cluster.targets(), "power": self.power(), **more}, self.cluster.secrets)

    def power(self) -> FenceCommands:
        """The power switch of the first host: all that runs on it ends with the first process of its namespace."""
        process = str(self.hosts.hosts[0].process.pid)
        return FenceCommands(
            cut_off=("kill", "-KILL", process),
            is_cut_off=sh('case $(ps -o stat= -p "$1") in ""|Z*) exit 0;; *) exit 1;; esac', process),
        )

    def switches(self, folder: Path) -> dict[str, TargetConfig]:
        """The same power switch as a playbook of Ansible has it."""
        local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
        (folder / "inventory").write_text(f"switch {local}\nother {local}\n")
        for name, tasks in SWITCH.items():
            (folder / name).write_text(HEAD + tasks)
        power = FencePlaybook(
            hosts="switches", playbook="off.yml", check_with="is-off.yml", limit="switch",
            vars={"process": self.hosts.hosts[0].process.pid},
        )  # fmt: skip
        return {"switches": AnsibleHosts(inventory=str(folder / "inventory"), playbooks=str(folder)), "power": power}

    def make(self, step: DatabaseSwitchover | DatabaseFailover | DatabaseReprotect) -> dict[str, object]:
        """Apply it, and see that it is in place then."""
        with self.world().act() as here:
            evidence = dict(step.apply(here))
            assert isinstance(step.observe(here), InPlace)
        return evidence


@pytest.fixture
def far() -> Iterator[Far]:
    with cluster() as servers, fleet(3) as hosts:
        servers.move_to(hosts)
        yield Far(servers, hosts)


def failover(*despite: Despite, fence: str | None = None, quiet_for: str = "10s") -> DatabaseFailover:
    return DatabaseFailover(
        primary="db1", standbys=("db2",), pool="pool", despite=despite, fence=fence, patience=parse_duration("3s"),
        quiet_for=parse_duration(quiet_for),
    )  # fmt: skip


def postmaster(host: Host) -> psutil.Process:
    """The server's first process; it has a process id of its own on its host, and another one here."""
    servers = [one for one in host.process.children(recursive=True) if one.name() == "postgres"]
    return next(one for one in servers if one.parent() not in servers)


def test_roles_change_and_change_back_and_a_client_notices_nothing(far: Far) -> None:
    with Writer(far.cluster) as client, Watch(far.cluster) as watch:
        for old, new in (("db1", "db2"), ("db2", "db1")):
            far.make(DatabaseSwitchover(primary=old, standby=new, pool="pool"))
            far.make(DatabaseReprotect(standby=old, primary=new))
            client.goes_on()
    assert (client.errors, watch.two_writable) == ([], [])
    assert client.acknowledged <= far.cluster.ids(far.cluster.first)


def test_a_server_that_died_is_fenced_on_its_host_and_follows_again(far: Far) -> None:
    with Watch(far.cluster) as watch:
        process_tree.kill(postmaster(far.hosts.hosts[0]))
        evidence = {"fenced": "its next start makes it a standby", "promoted": "db2", "told_to_follow": []}
        assert far.make(failover()) == evidence
        far.make(DatabaseReprotect(standby="db1", primary="db2", diverged="rewind"))
    assert watch.two_writable == []


def test_a_host_that_is_gone_may_still_take_writes_until_somebody_says_that_it_does_not(far: Far) -> None:
    """Safety rule 10: not to reach it is no proof."""
    far.hosts.hosts[0].kill()
    with far.world().act() as here, pytest.raises(NotReady, match=r"db1 cannot be fenced, .*despite: \[unfenced\]"):
        failover().apply(here)
    evidence = {"fenced": "not at all", "promoted": "db2", "told_to_follow": []}
    assert far.make(failover("unfenced")) == evidence
    assert far.cluster.second.writable()


@pytest.mark.parametrize("by", ["commands", "playbook"])
def test_a_host_that_hangs_is_cut_off_before_another_server_takes_its_place(far: Far, tmp_path: Path, by: str) -> None:
    """Safety rule 10: it would wake up some time, and take writes again."""
    host = far.hosts.hosts[0]
    power = far.switches(tmp_path) if by == "playbook" else {}
    step = failover(fence="power", quiet_for="0s")
    with Watch(far.cluster) as watch, far.world(**power).act(60) as here:
        host.freeze()
        try:
            assert step.apply(here)["promoted"] == "db2"
            assert not host.process.is_running() or host.process.status() == psutil.STATUS_ZOMBIE
        finally:
            host.kill()  # nobody waits for it for ever
        # The playbook takes its time, and what hangs any patience: so that is long now that nothing hangs any more.
        assert isinstance(msgspec.structs.replace(step, patience=parse_duration("20s")).observe(here), InPlace)
    assert watch.two_writable == []


def test_a_fence_that_does_not_take_effect_is_none(far: Far) -> None:
    far.hosts.hosts[0].kill()
    broken = FenceCommands(cut_off=("true",), is_cut_off=("false",))
    with World({**far.cluster.targets(), "power": broken}, far.cluster.secrets).act(12) as here:
        with pytest.raises(NotReady, match="power: it is not cut off: the command said that it had done it"):
            failover(fence="power").apply(here)
        assert not isinstance(failover(fence="power").observe(here), InPlace)
    assert not far.cluster.second.writable()


def test_the_runbook_is_run_although_the_host_of_the_primary_is_gone(far: Far, tmp_path: Path) -> None:
    """The plan takes the hosts along, and the check before the first step leaves out what may be down."""
    toml = far.cluster.toml() + '[environments.test.targets.shop]\ntype = "http"\nurl = "http://127.0.0.1:9/"\n'
    runbook = (ROOT / "runbooks/database-failover.yaml").read_text().replace("    confirm: true\n", "")
    write(tmp_path, {"dr.toml": toml, "f.yaml": runbook})
    far.hosts.hosts[0].kill()
    done = dr(tmp_path, "run", "f.yaml", "--env", "test", "--yes", PGTEST=far.cluster.secrets["env:PGTEST"])
    assert done.status == NeedsOperator.exit_status
    assert "db1 cannot be fenced, so it may still take writes: db1: 127.0.1.1:" in done.err
    assert not far.cluster.second.writable()


def test_a_server_whose_data_are_lost_is_made_anew_on_its_host(far: Far) -> None:
    process_tree.kill(postmaster(far.hosts.hosts[0]))
    far.make(failover())
    with far.world().act() as here:
        here.reach(DatabaseServer, "db1").halt()
    shutil.rmtree(far.cluster.first.server.data)
    assert far.make(DatabaseReprotect(standby="db1", primary="db2", diverged="copy")) == {"way": "copied"}


def test_a_server_is_restored_on_its_own_host_and_how_far_that_is_is_told(far: Far, tmp_path: Path) -> None:
    source, go = far.cluster.workspace.directory / "backup", tmp_path / "go"
    far.cluster.first.back_up(source)
    # Without its manifest: the pg_verifybackup of this release crashes (see `release_16`).
    fill = 'cp --archive "$1/." "$3" && rm "$3/backup_manifest" && while [ ! -e "$2" ]; do sleep 0.02; done'
    backup = Backup(fetch=("sh", "-c", fill, "sh", str(source), str(go), "{data}"))
    far.cluster.second.config = msgspec.structs.replace(far.cluster.second.config, backup=backup)
    step = DatabaseRestore(server="db2")
    with far.world().act() as here:
        here.reach(DatabaseServer, "db2").stop()
        with ThreadPoolExecutor(1) as worker:
            applied = worker.submit(step.apply, here)
            wait.until(lambda: any("MiB are copied" in words for words in here.said), LIMIT, "a word on how far it is")
            go.touch()
            applied.result()
        seen = step.observe(here)
    assert isinstance(seen, InPlace)
    assert len(str(seen.evidence["wal_file"])) == 24
