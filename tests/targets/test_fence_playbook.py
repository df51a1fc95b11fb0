"""Playbooks on real hosts as a switch: a machine is cut off where the file `made` is there."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.targets.ansible import AnsibleHosts
from dr.targets.fence_playbook import Fence, FencePlaybook
from dr.targets.playbooks import Play, PlayEnd, TaskHeard
from dr.targets.protocols import Refused, TargetUnreachable
from tests.here import opened
from tests.playbooks import MAKE, SLOWLY, UNMAKE, clean, prepared, processes_about
from tests.sshd import Fleet

PLAYBOOKS = {
    "off.yml": MAKE,
    "on.yml": UNMAKE,
    "is-off.yml": "  - {name: is it off, command: \"test -e '{{ host_dir }}/made'\", changed_when: false}\n",
    "unpredictable.yml": "  - {name: who knows, ansible.builtin.raw: 'true'}\n",
    "slowly.yml": SLOWLY,
}


@pytest.fixture
def web(ssh_fleet: Fleet) -> Iterator[Fleet]:
    yield replace(ssh_fleet, hosts=ssh_fleet.hosts[:2])
    clean(ssh_fleet)


@pytest.fixture
def switches(web: Fleet, tmp_path: Path) -> AnsibleHosts:
    return prepared(web, tmp_path, PLAYBOOKS)


def fence(switches: AnsibleHosts, playbook: str = "off.yml", **more: Any) -> AbstractContextManager[Any]:
    config = FencePlaybook(hosts="switches", playbook=playbook, **{"limit": "host1", "vars": {"word": "off"}, **more})
    return opened(config, name="power", targets={"switches": switches})


@pytest.mark.parametrize("check", [None, "is-off.yml"])
def test_it_is_cut_off_and_that_is_seen_on_that_host_alone(
    switches: AnsibleHosts, web: Fleet, check: str | None
) -> None:
    """By check mode, or by a playbook of checks."""
    with fence(switches, check_with=check) as power, fence(switches, check_with=check, limit="host1:host2") as both:
        power.fence()
        power.fence()
        assert web.have("made") == [True, False]
        assert not both.fenced()


def test_what_check_mode_cannot_predict_is_neither_cut_off_nor_is_it_not(switches: AnsibleHosts) -> None:
    unclear = pytest.raises(TargetUnreachable, match="power: whether it is cut off cannot be told: host1: who knows:")
    with fence(switches, "unpredictable.yml") as power, unclear:
        power.fence()


@pytest.mark.parametrize("check", [None, "is-off.yml"])
def test_a_host_that_cannot_be_reached_says_nothing_of_its_fence(
    switches: AnsibleHosts, web: Fleet, check: str | None
) -> None:
    refused = msgspec.structs.replace(switches, known_hosts=str(web.hosts[0].folder / "nobody-is-known"))
    unclear = pytest.raises(
        TargetUnreachable, match=r"power: whether it is cut off cannot be told: host1: .*unreachable"
    )
    with fence(refused, check_with=check) as power, unclear:
        power.fenced()


def test_a_playbook_that_has_no_effect_is_no_fence(switches: AnsibleHosts) -> None:
    with fence(switches, "on.yml", check_with="is-off.yml") as power:
        power.keep_within(4.0)
        with pytest.raises((Refused, TargetUnreachable), match=r"it is not cut off|did not end in time"):
            power.fence()


def test_a_playbook_that_hangs_is_ended_within_the_time_that_is_left(switches: AnsibleHosts, web: Fleet) -> None:
    with fence(switches, "slowly.yml", check_with="is-off.yml") as power:
        power.keep_within(4.0)
        with pytest.raises(TargetUnreachable, match="did not end in time and was ended"):
            power.fence()
    assert [line for line in processes_about(str(web.hosts[0].folder)) if "sshd" not in line] == []


def test_no_play_is_given_more_time_than_is_left() -> None:
    plays: list[Play] = []

    class Asked:
        def play(self, play: Play, _: TaskHeard) -> PlayEnd:
            plays.append(play)
            raise TargetUnreachable("nobody is there")

    power = Fence(FencePlaybook(hosts="switches", playbook="off.yml", limit="host1"), "power", Asked(), timeout=600.0)
    power.keep_within(4.0)
    with pytest.raises(TargetUnreachable):
        power.fence()
    assert [0 < play.within <= 4.0 for play in plays] == [True]


def test_on_which_hosts_it_is_played_has_to_be_said() -> None:
    for limit in ({}, {"limit": ""}):
        with pytest.raises(msgspec.ValidationError, match="limit"):
            msgspec.convert(
                {"type": "fence-playbook", "hosts": "switches", "playbook": "off.yml", **limit}, FencePlaybook
            )
