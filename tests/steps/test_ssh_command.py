import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dr.core.step import Evidence, InPlace, NotInPlace, StopRequested, Unknown
from dr.demo import wait
from dr.steps.ssh_command import CommandFailed, SshCommand
from tests.here import World
from tests.sshd import Fleet, sh, touches

MADE = "made"


@pytest.fixture
def web(ssh_fleet: Fleet) -> Iterator[Fleet]:
    """The hosts, without what a test has made on them."""
    yield ssh_fleet
    for host in ssh_fleet.hosts:
        for name in (MADE, "begun", "go"):
            (host.folder / name).unlink(missing_ok=True)


def world(fleet: Fleet, **group: Any) -> World:
    return World({"web": fleet.group(**group)})


def make(**more: Any) -> SshCommand:
    """Makes a file on each host."""
    return SshCommand(hosts="web", **{**touches(MADE), **more})


def times(fleet: Fleet) -> list[int]:
    """How often each host's file was made."""
    files = [host.folder / MADE for host in fleet.hosts]
    return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]


def test_it_is_seen_applied_seen_and_undone_on_every_host(web: Fleet) -> None:
    stood = world(web).before(make())
    assert stood["findings"] == [
        "in place on 0 of 3 hosts, needed are 3; " + "; ".join(f"{host.address}: status 1" for host in web.hosts)
    ]
    claim = world(web).apply(make())
    assert claim == {"ran": "begun on 3 of 3 hosts", "said": {host.address: "status 0: made" for host in web.hosts}}
    seen = world(web).settle(make())
    assert isinstance(seen, InPlace)
    assert seen.evidence["in_place"] == [host.address for host in web.hosts]
    assert isinstance(world(web).undo(make(), stood), InPlace)
    assert web.have(MADE) == [False, False, False]


def test_it_runs_only_where_it_is_needed_and_undoes_only_what_it_did(web: Fleet) -> None:
    (web.hosts[0].folder / MADE).write_text("theirs\n")
    stood = world(web).before(make())
    world(web).apply(make())
    world(web).apply(make())
    assert times(web) == [1, 1, 1]
    assert isinstance(world(web).undo(make(), stood), InPlace)
    assert web.have(MADE) == [True, False, False]


def test_an_undo_also_clears_what_was_applied_in_part(web: Fleet) -> None:
    half = make(apply_with=sh('touch "$HOST_DIR/begun"; exit 1'), undo_with=sh('rm -f "$HOST_DIR/begun"'))
    stood = world(web).before(half)
    with pytest.raises(CommandFailed):
        world(web).apply(half)
    assert web.have("begun") == [True, True, True]
    assert isinstance(world(web).undo(half, stood), InPlace)
    assert web.have("begun") == [False, False, False]


def test_a_command_that_succeeds_without_effect_is_not_in_place(web: Fleet) -> None:
    world(web).apply(make(apply_with=("true",)))
    assert isinstance(world(web).settle(make()), NotInPlace)


def test_a_command_that_fails_says_where_and_what(web: Fleet) -> None:
    failing = make(apply_with=sh('test "$(basename "$HOST_DIR")" != host2 || { echo no room >&2; exit 9; }; exit 0'))
    with pytest.raises(CommandFailed, match=rf"on 3 of 3 hosts, 1 failed: {web.hosts[1].address}: status 9: no room$"):
        world(web).apply(failing)


def test_a_check_that_cannot_tell_is_no_no(web: Fleet) -> None:
    seen = world(web).settle(make(check_with=sh("echo the disk is gone; exit 2")))
    assert isinstance(seen, Unknown)
    assert f"{web.hosts[0].address}: status 2: the disk is gone" in seen.why


def test_no_further_host_begins_once_the_quorum_is_lost(web: Fleet) -> None:
    failing = make(apply_with=sh('touch "$HOST_DIR/begun"; exit 1'), at_once=1)
    with pytest.raises(CommandFailed, match="begun on 1 of 3 hosts, 1 failed"):
        world(web).apply(failing)
    assert sum(web.have("begun")) == 1
    with pytest.raises(CommandFailed, match="begun on 2 of 3 hosts, 2 failed"):
        world(web).apply(msgspec.structs.replace(failing, quorum="2 of 3"))


def test_a_quorum_goes_ahead_without_a_host_that_is_down(fresh_ssh_fleet: Fleet) -> None:
    fresh_ssh_fleet.hosts[0].kill()
    two = make(quorum="2 of 3")
    stood = world(fresh_ssh_fleet).before(two)
    world(fresh_ssh_fleet).apply(two)
    seen = world(fresh_ssh_fleet).settle(two)
    assert isinstance(seen, InPlace)
    assert seen.evidence["unknown"] == [fresh_ssh_fleet.hosts[0].address]
    assert fresh_ssh_fleet.have(MADE) == [False, True, True]
    assert isinstance(world(fresh_ssh_fleet).undo(two, stood), InPlace)


def test_nothing_is_touched_where_the_quorum_is_out_of_reach(fresh_ssh_fleet: Fleet) -> None:
    fresh_ssh_fleet.hosts[0].kill()
    with pytest.raises(CommandFailed, match=r"nothing was touched, the quorum is out of reach: .*Connection refused"):
        world(fresh_ssh_fleet).apply(make())
    assert fresh_ssh_fleet.have(MADE) == [False, False, False]


def test_a_group_of_another_size_than_the_quorum_counts_is_refused(web: Fleet) -> None:
    with pytest.raises(LookupError, match="the quorum is 2 of 4, but web has 3 hosts"):
        world(web).settle(make(quorum="2 of 4"))
    with pytest.raises(ValueError, match="quorum: 3 is more than 2"):
        make(quorum="3 of 2")


def test_what_could_not_be_seen_before_is_not_claimed_to_be_undone(web: Fleet) -> None:
    first, *others = [host.address for host in web.hosts]
    stood: Evidence = {"in_place": [], "not_in_place": others, "unknown": [first]}
    (web.hosts[0].folder / MADE).touch()
    seen = world(web).undo(make(), stood)
    assert seen == Unknown(f"in place on {first}, which could not be looked at before")
    assert web.have(MADE) == [True, False, False]


@contextmanager
def applying(web: Fleet, step: SshCommand) -> Iterator[None]:
    """An apply by a `dr` that is then gone: it stops waiting, as a killed one would, and the commands go on."""
    with world(web).act() as here:

        def work() -> None:
            with pytest.raises(StopRequested):
                step.apply(here)

        thread = threading.Thread(target=work)
        thread.start()
        wait.until(lambda: all(web.have("begun")), 30, "the command has begun everywhere")
        here.stop.set()
        thread.join()
    try:
        yield
    finally:
        for host in web.hosts:
            (host.folder / "go").touch()
        wait.until(lambda: all(web.have(MADE)), 30, "the command has ended everywhere")


SLOWLY = sh('touch "$HOST_DIR/begun"; until test -e "$HOST_DIR/go"; do sleep 0.05; done; echo made >> "$HOST_DIR/made"')


def test_a_command_that_still_runs_is_in_doubt_and_not_begun_again(web: Fleet) -> None:
    slow = make(apply_with=SLOWLY)
    with applying(web, slow):
        seen = world(web).settle(slow)
        assert isinstance(seen, Unknown)
        assert f"{web.hosts[0].address}: a command of this step is still running" in seen.why
        with pytest.raises(CommandFailed, match="nothing was touched"):
            world(web).apply(slow)
        with world(web).act() as here, pytest.raises(CommandFailed, match="still running"):
            slow.undo(here, {"not_in_place": [web.hosts[0].address]})
        with world(web).act() as here:
            undone = slow.observe_undone(here, {"not_in_place": [web.hosts[0].address]})
        assert undone == Unknown(f"{web.hosts[0].address}: a command of this step is still running")
    wait.until(lambda: isinstance(world(web).settle(slow), InPlace), 30, "the ended command is seen")
    assert times(web) == [1, 1, 1]


def test_one_host_that_is_still_at_work_settles_nothing_for_the_others(web: Fleet) -> None:
    first, *others = web.hosts
    slow = make(apply_with=SLOWLY)
    alone = replace(web, hosts=[first])
    with applying(alone, slow):
        seen = world(web).settle(slow)
        assert isinstance(seen, Unknown)
        assert f"{others[0].address}: status 1" in seen.why


def test_the_command_of_another_step_or_run_holds_nothing_up(web: Fleet) -> None:
    with applying(web, make(apply_with=SLOWLY)), world(web).act() as here:
        here.step = "ste"
        assert isinstance(make().observe(here), NotInPlace)


def test_a_stop_is_heard_while_a_look_waits(fresh_ssh_fleet: Fleet) -> None:
    fresh_ssh_fleet.hosts[0].freeze()
    with world(fresh_ssh_fleet).look() as here:
        here.stop.set()
        with pytest.raises(StopRequested):
            make().observe(here)


def test_a_host_that_hangs_is_unknown_when_the_time_is_over(fresh_ssh_fleet: Fleet) -> None:
    fresh_ssh_fleet.hosts[0].freeze()
    for host in fresh_ssh_fleet.hosts[1:]:
        (host.folder / MADE).touch()
    seen = world(fresh_ssh_fleet).settle(make(), timeout=2)
    assert isinstance(seen, Unknown)
    assert "no answer in time" in seen.why


def test_what_hosts_say_stays_within_limits_and_moves_no_terminal(web: Fleet) -> None:
    loud = make(check_with=sh("printf '\\033[2J'; yes x | head -c 100000; exit 1"))
    raw = msgspec.json.encode(world(web).before(loud))
    assert len(raw) < 4096
    assert b"\\u001b" not in raw


def test_without_an_undo_it_is_a_point_of_no_return() -> None:
    assert make().reverses() == "undo"
    assert make(undo_with=None).reverses() == "impossible"


def test_the_summary_says_what_is_run_and_where() -> None:
    step = make(apply_with=("systemctl", "stop", "shop app"), quorum="2 of 3", at_once=1)
    assert step.summary() == "Run systemctl stop 'shop app' on 2 of 3 of web, 1 at once"


def test_it_is_written_in_yaml_with_the_words_check_apply_undo() -> None:
    raw = {"hosts": "web", "check": ["true"], "apply": ["true"], "undo": ["true"]}
    step = msgspec.convert(raw, SshCommand)
    assert msgspec.json.decode(msgspec.json.encode(step)) == {**raw, "quorum": "all", "at_once": 16}


def test_the_preview_names_the_hosts(web: Fleet) -> None:
    with world(web).look() as here:
        assert make().preview(here)["not_in_place"] == [host.address for host in web.hosts]
    assert web.have(MADE) == [False, False, False]
