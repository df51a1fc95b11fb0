"""The playbooks that come with dr, over real sshd: each is predicted, does what it says, and changes nothing twice."""

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml

from dr.core.step import InPlace, NotInPlace, Observation, Unknown
from dr.demo.postgres import free_port
from dr.steps.playbook_run import PlaybookFailed, PlaybookRun
from tests.here import World
from tests.playbooks import prepared
from tests.sshd import Fleet

PLAYBOOKS = Path(__file__).parent.parent / "playbooks"
ALL = sorted(PLAYBOOKS.glob("*.yml"))

# A service without a service manager: something that listens, and may be barred from starting.
SERVICE = """\
#!/bin/sh
cd "$(dirname "$0")"
case $1 in
  is-running) kill -0 "$(cat pid)" ;;
  is-barred) test -e barred ;;
  start) test ! -e barred || exit 9
    nohup setsid {python} -m http.server --bind 127.0.0.1 {port} >log 2>&1 & echo $! >pid ;;
  stop) kill "$(cat pid)" ;;
  bar) touch barred ;;
  unbar) rm -f barred ;;
  reload) cp app.conf running.conf; echo reloaded >>reloads ;;
esac
"""


class Site:
    """One host with one service on it."""

    def __init__(self, host: Any, world: World, port: int, variables: Mapping[str, Any]) -> None:
        self.folder: Path = host.folder
        self.port = port
        self._host = host
        self._world = world
        self._variables = variables

    def look(self, playbook: str, **more: Any) -> Observation:
        with self._world.look() as here:
            return self._step(playbook, more).observe(here)

    def play(self, playbook: str, **more: Any) -> Mapping[str, int]:
        """How many tasks ended in which way."""
        with self._world.act() as here:
            hosts: Any = self._step(playbook, more).apply(here)["hosts"]
            return dict(hosts[self.folder.name])

    def brings_about(self, playbook: str, **more: Any) -> None:
        """Predicted, brought about, seen; and the second time nothing changes."""
        assert isinstance(self.look(playbook, **more), NotInPlace)
        assert self.play(playbook, **more)["changed"]
        assert isinstance(self.look(playbook, **more), InPlace)
        assert "changed" not in self.play(playbook, **more)

    def listens(self) -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def end(self) -> None:
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] == str(self.folder):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def _step(self, playbook: str, more: Mapping[str, Any]) -> PlaybookRun:
        return PlaybookRun(hosts="web", playbook=playbook, vars={**self._variables, **more})


@pytest.fixture
def site(fresh_ssh_fleet: Fleet, tmp_path: Path) -> Iterator[Site]:
    host, port = fresh_ssh_fleet.hosts[0], free_port()
    config = prepared(replace(fresh_ssh_fleet, hosts=[host]), tmp_path, {})
    world = World({"web": msgspec.structs.replace(config, playbooks=str(PLAYBOOKS))})
    script = host.folder / "service"
    script.write_text(SERVICE.format(python=sys.executable, port=port))
    script.chmod(0o755)
    names = ("is_running", "is_barred", "start", "stop", "bar", "unbar", "reload")
    commands = {name: [str(script), name.replace("_", "-")] for name in names}
    site = Site(host, world, port, {"service": "shop", "port": port, **commands})
    yield site
    site.end()


def test_a_service_is_started_and_stopped(site: Site) -> None:
    site.brings_about("service-start.yml")
    assert site.listens()
    site.brings_about("service-stop.yml")
    assert not site.listens()


def test_a_fenced_host_is_silent_and_stays_so_until_the_fence_is_lifted(site: Site) -> None:
    site.play("service-start.yml")
    site.brings_about("fence.yml")
    assert not site.listens()
    with pytest.raises(PlaybookFailed):
        site.play("service-start.yml")
    assert not site.listens()
    site.brings_about("unfence.yml")
    assert not site.listens()
    site.play("service-start.yml")
    assert site.listens()


def test_a_fence_behind_which_somebody_still_listens_is_no_fence(site: Site) -> None:
    site.play("service-start.yml")
    (site.folder / "pid").write_text("999999")  # its manager believes that it is stopped
    with pytest.raises(PlaybookFailed, match=f"127.0.0.1:{site.port} still accepts connections"):
        site.play("fence.yml", silent_within=1)
    seen = site.look("fence.yml")
    assert isinstance(seen, Unknown)
    assert "still accepts connections" in seen.why


def test_a_maintenance_page_is_shown_and_taken_away(site: Site) -> None:
    flag = site.folder / "maintenance.html"
    site.brings_about("maintenance-on.yml", flag=str(flag), page="soon\n")
    assert flag.read_text() == "soon\n"
    site.brings_about("maintenance-off.yml", flag=str(flag))
    assert not flag.exists()


def test_an_application_is_pointed_elsewhere_and_reloaded_also_after_a_kill_in_between(site: Site) -> None:
    config = site.folder / "app.conf"
    config.write_text("name=shop\ndb=old\ndb_pool=5\n")
    moved = {"config": str(config), "key": "db", "value": "new"}
    site.brings_about("repoint.yml", **moved)
    assert (site.folder / "running.conf").read_text() == "name=shop\ndb=new\ndb_pool=5\n"
    assert (site.folder / "reloads").read_text().split() == ["reloaded"]
    config.write_text("name=shop\ndb=newer\ndb_pool=5\n")  # changed, and killed before the reload
    assert isinstance(site.look("repoint.yml", **{**moved, "value": "newer"}), NotInPlace)
    site.play("repoint.yml", **{**moved, "value": "newer"})
    assert (site.folder / "running.conf").read_text() == config.read_text()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_playbook_opens_with_when_to_use_it_and_how_to_back_out(path: Path) -> None:
    head = path.read_text().split("- name:")[0]
    for words in ("When to use it:", "When not:", "What it costs:", "How to back out:"):
        assert words in head
    [play] = yaml.safe_load(path.read_text())
    assert all(task.get("name") for task in play["tasks"])
