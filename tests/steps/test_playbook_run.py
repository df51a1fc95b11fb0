import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace, OutOfTime, StopRequested, Unknown
from dr.demo import wait
from dr.steps.playbook_run import PlaybookFailed, PlaybookRun
from dr.targets.protocols import TargetUnreachable
from tests.here import World
from tests.playbooks import MAKE, SLOWLY, UNMAKE, clean, prepared, processes_about
from tests.sshd import Fleet

PLAYBOOKS = {
    "make.yml": MAKE,
    "unmake.yml": UNMAKE,
    "slowly.yml": SLOWLY,
    "unpredictable.yml": "  - {name: who knows, ansible.builtin.raw: 'true'}\n",
    "always.yml": "  - {name: again, ansible.builtin.command: 'true'}\n",
    "check.yml": "  - {name: is it there, command: \"test -e '{{ host_dir }}/made'\", changed_when: false}\n",
    "fails.yml": "  - {name: no room, fail: {msg: the disk is full}, when: inventory_hostname == 'host2'}\n",
    "partly.yml": "  - {name: no room, fail: {msg: the disk is full}, when: inventory_hostname == 'host2'}\n" + MAKE,
    "nowhere.yml": "  - {name: wrong, no_such_module: {}}\n",
    "conditional.yml": "  - {name: not here, ansible.builtin.command: 'true', when: false}\n",
}


@pytest.fixture
def web(ssh_fleet: Fleet) -> Iterator[Fleet]:
    """Two of the hosts: Ansible takes its time for each."""
    yield replace(ssh_fleet, hosts=ssh_fleet.hosts[:2])
    clean(ssh_fleet)


@pytest.fixture
def world(web: Fleet, tmp_path: Path) -> World:
    return World({"web": prepared(web, tmp_path, PLAYBOOKS)})


def make(playbook: str = "make.yml", **more: Any) -> PlaybookRun:
    return PlaybookRun(hosts="web", playbook=playbook, **{"undo_with": "unmake.yml", "vars": {"word": "hello"}, **more})


def test_it_is_predicted_applied_seen_and_undone(world: World, web: Fleet) -> None:
    stood = world.before(make())
    assert stood["findings"] == ["host1: make it: changed; host2: make it: changed"]
    assert web.have("made") == [False, False]
    with world.act() as here:
        assert make().apply(here) == {
            "playbook": "make.yml",
            "hosts": {name: {"changed": 1} for name in ("host1", "host2")},
            "of": 2,
        }
        assert sorted(here.said) == ["host1: make it: changed", "host2: make it: changed"]
    assert world.observe(make()) == InPlace(
        {"in_place": ["host1", "host2"], "not_in_place": [], "unknown": [], "said": {}}
    )
    with world.act() as here:
        make().undo(here, stood)
        assert isinstance(make().observe_undone(here, stood), InPlace)
    assert web.have("made") == [False, False]


def test_only_what_was_not_in_place_before_is_undone(world: World, web: Fleet) -> None:
    (web.hosts[0].folder / "made").write_text("hello")
    stood = world.before(make())
    with world.act(120) as here:  # five plays
        make().apply(here)
        assert isinstance(make().observe_undone(here, stood), NotInPlace)
        make().undo(here, stood)
        assert isinstance(make().observe_undone(here, stood), InPlace)
        assert make().undo(here, {"not_in_place": []}) == {}
    assert web.have("made") == [True, False]


def test_a_limit_leaves_the_other_hosts_alone(world: World, web: Fleet) -> None:
    one = make(limit="host2")
    assert world.before(one)["not_in_place"] == ["host2"]
    with world.act() as here:
        one.apply(here)
    assert web.have("made") == [False, True]
    assert isinstance(world.observe(one), InPlace)


def test_what_check_mode_cannot_predict_is_unknown_and_not_in_place(world: World) -> None:
    seen = world.observe(make("unpredictable.yml"))
    assert isinstance(seen, Unknown)
    assert "host1: who knows: check mode cannot predict it; name a playbook of checks in `check`" in seen.why


def test_a_command_that_would_always_run_is_never_in_place(world: World) -> None:
    with world.act() as here:
        make("always.yml").apply(here)
    assert world.before(make("always.yml"))["said"] == {f"host{n}": "again: changed" for n in (1, 2)}


def test_a_task_whose_condition_is_false_is_predicted(world: World) -> None:
    assert isinstance(world.observe(make("conditional.yml")), InPlace)


def test_a_playbook_of_checks_says_what_check_mode_cannot(world: World, web: Fleet) -> None:
    checked = make("unpredictable.yml", check_with="check.yml")
    (web.hosts[0].folder / "made").touch()
    seen = world.observe(checked)
    assert isinstance(seen, NotInPlace)
    assert (seen.evidence["in_place"], seen.evidence["not_in_place"]) == (["host1"], ["host2"])


def test_a_failed_task_is_told_with_its_host_and_its_message(world: World) -> None:
    with world.act() as here, pytest.raises(PlaybookFailed, match="host2: no room: failed: the disk is full"):
        make("fails.yml").apply(here)


def test_a_host_that_is_down_is_unknown_and_not_failed(fresh_ssh_fleet: Fleet, tmp_path: Path) -> None:
    world = World({"web": prepared(fresh_ssh_fleet, tmp_path, PLAYBOOKS)})
    fresh_ssh_fleet.hosts[0].kill()
    seen = world.observe(make())
    assert isinstance(seen, Unknown)
    assert "host1: make it: unreachable" in seen.why
    assert isinstance(world.observe(make(check_with="check.yml")), Unknown)
    with world.act() as here, pytest.raises(PlaybookFailed, match="host1: make it: unreachable"):
        make().apply(here)


@pytest.mark.parametrize(
    "step, why",
    [
        (make("none.yml"), "there is no playbook .*/none.yml"),
        (make("nowhere.yml"), "nowhere.yml was played on no host: .*no_such_module"),
        (make(limit="host9"), "make.yml was played on no host: .*host9"),
    ],
)
def test_a_playbook_that_cannot_begin_says_why(world: World, step: PlaybookRun, why: str) -> None:
    with world.look() as here, pytest.raises(LookupError, match=why):
        step.observe(here)


def test_a_host_whose_key_is_not_known_is_refused(web: Fleet, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("".join(host.known() for host in web.hosts[1:]))
    world = World({"web": prepared(web, tmp_path, PLAYBOOKS, known_hosts=str(known))})
    seen = world.observe(make())
    assert isinstance(seen, Unknown)
    assert "host1: make it: unreachable" in seen.why
    assert "host2" not in seen.why


def test_a_stop_ends_the_playbook_and_every_process_of_it(world: World, web: Fleet, tmp_path: Path) -> None:
    with world.act() as here:

        def press_ctrl_c() -> None:
            wait.until(lambda: all(web.have("begun")), 30, "the playbook works everywhere")
            here.stop.set()

        threading.Thread(target=press_ctrl_c).start()
        with pytest.raises(StopRequested):
            make("slowly.yml").apply(here)
    assert processes_about(str(tmp_path)) == []
    wait.until(lambda: not any(about(host.folder) for host in web.hosts), 30, "nothing runs on the hosts")
    assert web.have("made") == [False, False]


def test_a_playbook_that_takes_too_long_is_ended_as_well(world: World, tmp_path: Path, web: Fleet) -> None:
    with world.act(timeout=6) as here, pytest.raises((TargetUnreachable, OutOfTime)):
        make("slowly.yml").apply(here)
    assert processes_about(str(tmp_path)) == []
    wait.until(lambda: not any(about(host.folder) for host in web.hosts), 30, "nothing runs on the hosts")


def about(folder: Path) -> list[str]:
    """What runs on the host of that folder, beside its sshd."""
    return [line for line in processes_about(str(folder)) if "sshd" not in line]


@pytest.mark.parametrize("playbook", ["../make.yml", "/etc/make.yml", "make.txt", "-make.yml", "a/../../make.yml"])
def test_a_playbook_is_a_file_in_the_targets_folder(playbook: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"hosts": "web", "playbook": playbook}, PlaybookRun)


def test_the_summary_says_what_is_run_and_where() -> None:
    assert make().summary() == "Run the playbook make.yml on web"
    assert make(limit="db", tags=("stop",)).summary() == "Run the playbook make.yml on web (db), only stop"


def test_without_an_undo_it_is_a_point_of_no_return() -> None:
    assert make().reverses() == "undo"
    assert make(undo_with=None).reverses() == "impossible"


def test_as_many_hosts_as_the_quorum_says_are_enough_and_only_those_are_undone(world: World, web: Fleet) -> None:
    step = make("partly.yml", quorum="1 of 2")
    stood = world.before(step)
    assert stood["unknown"] == ["host2"]
    with world.act() as here:
        step.apply(here)
    seen = world.observe(step)
    assert isinstance(seen, InPlace)
    assert (seen.evidence["in_place"], seen.evidence["unknown"]) == (["host1"], ["host2"])
    with world.act() as here:
        step.undo(here, stood)
    assert web.have("made") == [False, False]


def test_without_enough_hosts_nothing_is_settled(world: World) -> None:
    step = make("partly.yml", quorum="2 of 2")
    assert isinstance(world.observe(step), Unknown)
    with world.act() as here, pytest.raises(PlaybookFailed, match="host2: no room: failed: the disk is full"):
        step.apply(here)


def test_a_host_that_could_not_be_looked_at_before_is_nobodys_to_undo(world: World) -> None:
    step = make(quorum="1 of 2")
    with world.act() as here:
        step.apply(here)
        seen = step.observe_undone(here, {"in_place": ["host1"], "not_in_place": [], "unknown": ["host2"]})
    assert seen == Unknown("in place on host2, which could not be looked at before")


def test_a_quorum_is_of_the_hosts_that_there_are(world: World) -> None:
    with world.look() as here, pytest.raises(LookupError, match="the quorum is 1 of 3, but web has 2 hosts"):
        make(quorum="1 of 3").observe(here)
    with pytest.raises(ValueError, match="3 is more than 2"):
        make(quorum="3 of 2")
