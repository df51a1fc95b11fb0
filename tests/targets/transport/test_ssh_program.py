"""Programs on a real host over SSH: what is begun late, or was never answered, does no harm."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import paramiko
import psutil
import pytest

from dr.demo import process_tree, wait
from dr.targets import ssh
from dr.targets.protocols import TargetUnreachable
from dr.targets.transport.ssh_program import SshPrograms
from tests.here import opening
from tests.sshd import Fleet, Host, fleet, sh

LIMIT = 30.0


@pytest.fixture(scope="module")
def only() -> Iterator[Fleet]:
    with fleet(1) as hosts:
        yield hosts


@contextmanager
def programs(hosts: Fleet, subject: str = "/data") -> Iterator[SshPrograms]:
    """As a dr of its own opens them."""
    opened = SshPrograms("db1", ssh.open_target(hosts.group(), opening()), subject)
    try:
        yield opened
    finally:
        opened.close()


def soon(seconds: float = LIMIT) -> float:
    return time.monotonic() + seconds


def made(hosts: Fleet, name: str) -> bool:
    return (hosts.hosts[0].folder / name).exists()


def make(name: str) -> tuple[str, ...]:
    return sh('touch "$HOME/$1"', name)


def test_arguments_and_input_arrive_as_they_are(only: Fleet) -> None:
    with programs(only) as here:
        assert here.look(["printf", "%s|", "a b", "$(id)", "x;y", "*", "'"], soon()).out == "a b|$(id)|x;y|*|'|"
        said = here.change(["cat", "-"], soon(), text="one\n$(two)\n")
        assert (said.status, said.out, said.error) == (0, "one\n$(two)", "")


def test_what_it_complains_about_does_not_stand_among_its_output(only: Fleet) -> None:
    with programs(only) as here:
        said = here.look(sh("echo found; echo missing >&2"), soon())
    assert (said.out, said.error) == ("found", "missing")


def test_a_flood_of_complaints_neither_holds_it_up_nor_hides_how_it_began_and_ended(only: Fleet) -> None:
    """More than a channel takes before somebody reads it; how far pg_rewind came, and why it ended, is told there."""
    flood = sh("echo first >&2; head -c 5000000 /dev/zero | tr '\\0' x >&2; echo last >&2; echo found; exit 4")
    with programs(only) as here:
        said = here.look(flood, soon())
    assert (said.status, said.out) == (4, "found")
    assert said.error.startswith("first\nxxx")
    assert said.error.endswith("xxxlast")
    assert len(said.error) < 10_000


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_is_the_programs_own(only: Fleet, status: int) -> None:
    with programs(only) as here:
        assert here.change(sh('echo why >&2; exit "$1"', str(status)), soon()).status == status
        assert here.look(sh('echo why >&2; exit "$1"', str(status)), soon()).words() == "why"


def test_who_takes_over_makes_the_other_stop_before_it_changes_anything(only: Fleet) -> None:
    """Safety rule 7, on a host: a dr that was cut off and comes back finds that it is not the one any more."""
    with programs(only) as first, programs(only) as second:
        first.change(make("by-the-first"), soon())
        second.take_over(soon())
        with pytest.raises(TargetUnreachable, match="db1: another dr has begun to change it"):
            first.change(make("too-late"), soon())
        assert first.look(["true"], soon()).status == 0
        second.change(make("by-the-second"), soon())
    assert (made(only, "by-the-first"), made(only, "too-late"), made(only, "by-the-second")) == (True, False, True)


def test_who_changes_another_thing_on_the_host_is_left_alone(only: Fleet) -> None:
    with programs(only) as first, programs(only, "/another") as second:
        first.take_over(soon())
        second.change(make("another"), soon())
        assert first.change(make("mine"), soon()).status == 0


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_change_that_arrives_late_does_nothing_once_another_has_begun(
    only: Fleet, monkeypatch: pytest.MonkeyPatch, *, taken_over: bool
) -> None:
    """Safety rule 10: a late `rm standby.signal` would undo a fence that the next attempt relies on."""
    [host] = only.hosts
    name = f"late-{taken_over}"
    with programs(only) as cut_off, programs(only) as second:
        before = set(_connections(host))
        cut_off.take_over(soon())
        [connection] = [one for one in set(_connections(host)) - before if not one.children()]
        with monkeypatch.context() as patch:
            patch.setattr(paramiko.Channel, "exec_command", _after(lambda: process_tree.halt(connection)))
            with pytest.raises(TargetUnreachable, match="no answer in time; what was begun there may go on"):
                cut_off.change(make(name), soon(0.5))
        if taken_over:
            second.take_over(soon())
        known = _processes(host)
        connection.resume()
        connection.wait(LIMIT)  # by then it has begun what it was sent
        wait.until(lambda: known >= _processes(host), LIMIT, "the end of what came late")
    assert made(only, name) == (not taken_over)


def test_what_is_still_at_work_is_waited_for_and_named(only: Fleet) -> None:
    """A rewind that a killed dr has begun goes on without it."""
    folder = only.hosts[0].folder
    with programs(only) as killed:
        slow = sh('touch "$HOME/begun"; until test -e "$HOME/go-on"; do sleep 0.01; done; touch "$HOME/ended"')
        with pytest.raises(TargetUnreachable):
            killed.change(slow, soon(1))
    wait.until(lambda: made(only, "begun"), LIMIT, "the change is at work")
    with programs(only) as second:
        with pytest.raises(TargetUnreachable, match="what was begun on its host earlier is still at work there"):
            second.take_over(soon(0.5))
        (folder / "go-on").touch()
        second.take_over(soon())
        assert made(only, "ended")


def test_a_server_that_is_started_does_not_keep_the_others_out(only: Fleet) -> None:
    with programs(only) as first, programs(only) as second:
        first.change(sh("setsid sleep 600 >/dev/null 2>&1 </dev/null & echo started"), soon())
        second.take_over(soon())


def test_a_group_of_two_hosts_is_no_place_for_one_server(only: Fleet) -> None:
    pair = only.group(hosts=("127.0.1.1:1", "127.0.1.2:1"))
    with pytest.raises(TargetUnreachable, match="db1: its `ssh` has 2 hosts, and it runs on one"):
        SshPrograms("db1", ssh.open_target(pair, opening()), "/data")


def _processes(host: Host) -> set[psutil.Process]:
    return set(host.process.children(recursive=True))


def _after(first: Callable[[], None]) -> Callable[..., None]:
    original = paramiko.Channel.exec_command

    def call(*arguments: Any) -> None:
        first()
        original(*arguments)

    return call


def _connections(host: Host) -> list[psutil.Process]:
    """The processes of the host that serve connections, the one that holds the socket having no children."""
    found: list[psutil.Process] = []
    for process in host.process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "sshd:" in " ".join(process.cmdline()):
                found.append(process)
    return found
