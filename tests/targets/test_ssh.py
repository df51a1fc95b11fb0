import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import paramiko
import pytest

from dr.demo import wait
from dr.targets.protocols import HostAnswer, HostGroup, TargetUnreachable
from dr.targets.ssh import SshGroup
from dr.targets.transport.ssh_hosts import MOST_OUTPUT
from tests.here import Secrets, opened
from tests.sshd import Fleet, agent, keygen, sh


def always(_: Sequence[HostAnswer]) -> bool:
    return True


def run(group: SshGroup, *argv: str, at_once: int = 16, **how: Any) -> dict[str, HostAnswer]:
    """The answers by host."""
    with opened(group, **how) as hosts:
        _: HostGroup = hosts
        answers = hosts.run(argv, hosts.hosts, at_once=at_once, go_on=always)
    return {answer.host: answer for answer in answers}


def ping(group: SshGroup, **how: Any) -> None:
    with opened(group, **how) as hosts:
        hosts.ping()


def test_a_command_runs_on_every_host_and_each_says_how_it_ended(ssh_fleet: Fleet) -> None:
    answers = run(ssh_fleet.group(), *sh('basename "$HOST_DIR"; exit 3'))
    said = [answers[host.address] for host in ssh_fleet.hosts]
    assert [(answer.status, answer.said) for answer in said] == [(3, "host1"), (3, "host2"), (3, "host3")]


def test_words_reach_the_command_as_they_are(ssh_fleet: Fleet) -> None:
    words = ["a b", "$HOME", "; false", "'", '"', "*", "ä", ""]
    [answer, *_] = run(ssh_fleet.group(), "printf", "<%s>", *words).values()
    assert answer.said == "".join(f"<{word}>" for word in words)


def test_what_a_command_says_is_heard_on_both_streams(ssh_fleet: Fleet) -> None:
    [answer, *_] = run(ssh_fleet.group(), *sh("echo out; echo err >&2")).values()
    assert sorted(answer.said.split()) == ["err", "out"]


@pytest.mark.parametrize("stream", [1, 2])
def test_of_a_talkative_command_the_end_is_kept(ssh_fleet: Fleet, stream: int) -> None:
    talk = f"{{ yes 0123456789 | head -c 5000000; echo; echo the end; }} >&{stream}"
    [answer, *_] = run(ssh_fleet.group(), *sh(talk)).values()
    assert answer.status == 0
    assert answer.said.endswith("the end")
    assert len(answer.said) <= MOST_OUTPUT + len("...")


def test_a_daemon_that_keeps_the_output_open_does_not_hold_up_its_start(ssh_fleet: Fleet) -> None:
    start = 'sleep 600 & echo $! > "$HOST_DIR/pid"; echo started'
    try:
        answers = run(ssh_fleet.group(), *sh(start), timeout=20)
        assert {(answer.status, answer.said) for answer in answers.values()} == {(0, "started")}
    finally:
        run(ssh_fleet.group(), *sh('kill "$(cat "$HOST_DIR/pid")"; rm "$HOST_DIR/pid"'))


def test_a_command_that_waits_for_input_gets_none(ssh_fleet: Fleet) -> None:
    assert {answer.status for answer in run(ssh_fleet.group(), "cat").values()} == {0}


def test_no_more_hosts_than_allowed_are_at_work_at_once(ssh_fleet: Fleet, tmp_path: Path) -> None:
    alone = f"mkdir {tmp_path}/alone && sleep 0.05 && rmdir {tmp_path}/alone"
    assert {answer.status for answer in run(ssh_fleet.group(), *sh(alone), at_once=1).values()} == {0}
    assert {answer.status for answer in run(ssh_fleet.group(), *sh(alone), at_once=3).values()} != {0}


def test_no_further_host_begins_when_told_not_to(ssh_fleet: Fleet) -> None:
    with opened(ssh_fleet.group()) as hosts:
        answers = hosts.run(["true"], hosts.hosts, at_once=1, go_on=lambda answers: not answers)
    assert [answer.host for answer in answers] == [ssh_fleet.hosts[0].address]


def test_a_host_whose_key_is_not_known_is_refused_and_not_added(ssh_fleet: Fleet, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("".join(host.known() for host in ssh_fleet.hosts[1:]))
    before = known.read_bytes()
    answers = run(ssh_fleet.group(known_hosts=str(known)), "true")
    assert [answers[host.address].status for host in ssh_fleet.hosts] == [None, 0, 0]
    assert f"is not in {known}" in answers[ssh_fleet.hosts[0].address].said
    assert known.read_bytes() == before
    with pytest.raises(TargetUnreachable, match="its host key"):
        ping(ssh_fleet.group(known_hosts=str(known)))


def test_a_host_with_another_key_than_the_known_one_is_refused(ssh_fleet: Fleet, tmp_path: Path) -> None:
    first, second, *_ = ssh_fleet.hosts
    impostor = second.known().replace(second.known().split()[0], first.known().split()[0])
    known = tmp_path / "known_hosts"
    known.write_text(impostor)
    [answer] = run(ssh_fleet.group(known_hosts=str(known), hosts=(first.address,)), "true").values()
    assert (answer.status, answer.said[:48]) == (None, "its host key is another one than the known one: ")


def test_a_revoked_key_is_refused_also_where_it_is_known(ssh_fleet: Fleet, tmp_path: Path) -> None:
    first = ssh_fleet.hosts[0]
    known = tmp_path / "known_hosts"
    known.write_text(first.known() + "@revoked * " + " ".join(first.known().split()[1:]) + "\n")
    [answer] = run(ssh_fleet.group(known_hosts=str(known), hosts=(first.address,)), "true").values()
    assert answer.status is None


def test_hashed_names_are_known_and_malformed_lines_are_passed_over(ssh_fleet: Fleet, tmp_path: Path) -> None:
    first = ssh_fleet.hosts[0]
    name, rest = first.known().split(" ", 1)
    known = tmp_path / "known_hosts"
    known.write_text(f"# ours\n\nnonsense\n{name} ssh-ed25519 !!!\n{paramiko.HostKeys.hash_host(name)} {rest}")
    [answer] = run(ssh_fleet.group(known_hosts=str(known), hosts=(first.address,)), "true").values()
    assert answer.status == 0


def test_an_encrypted_key_takes_its_passphrase_by_reference(ssh_fleet: Fleet, tmp_path: Path) -> None:
    key = tmp_path / "key"
    keygen(key, "the passphrase")
    keys = ssh_fleet.key.with_suffix(".pub")
    before = keys.read_text()
    keys.write_text(before + key.with_suffix(".pub").read_text())
    group = ssh_fleet.group(key=str(key), passphrase="env:KEY")
    try:
        ping(group, secrets=Secrets({"env:KEY": "the passphrase"}))
        with pytest.raises(TargetUnreachable, match="passphrase is missing or wrong") as refused:
            ping(group, secrets=Secrets({"env:KEY": "another one"}))
        assert "another one" not in str(refused.value)
        with pytest.raises(TargetUnreachable, match="passphrase is missing or wrong"):
            ping(ssh_fleet.group(key=str(key)))
    finally:
        keys.write_text(before)


def test_a_key_that_no_host_takes_is_told_as_that(ssh_fleet: Fleet, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    with pytest.raises(TargetUnreachable, match="it refuses the key"):
        ping(ssh_fleet.group(key=str(tmp_path / "other")))


def test_the_agents_keys_are_used_where_none_is_named(ssh_fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(TargetUnreachable):
        ping(ssh_fleet.group(key=None))
    with agent(ssh_fleet.key.parent, ssh_fleet.key) as sock:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        ping(ssh_fleet.group(key=None))


@pytest.mark.parametrize("field", ["key", "known_hosts"])
def test_a_file_that_is_not_there_is_named(ssh_fleet: Fleet, tmp_path: Path, field: str) -> None:
    with pytest.raises(TargetUnreachable, match=rf"^the-target: .*{tmp_path}/none .*No such file"):
        ping(ssh_fleet.group(**{field: str(tmp_path / "none")}))


def test_hosts_are_reached_through_a_jump_host_whose_key_is_verified_too(ssh_fleet: Fleet, tmp_path: Path) -> None:
    first, *others = ssh_fleet.hosts
    behind = replace(ssh_fleet, hosts=others)
    answers = run(behind.group(jump=first.address), *sh('echo "$SSH_CONNECTION"'))
    assert [answers[host.address].status for host in others] == [0, 0]
    known = tmp_path / "known_hosts"
    known.write_text("".join(host.known() for host in others))
    answers = run(behind.group(jump=first.address, known_hosts=str(known)), "true")
    assert {answer.status for answer in answers.values()} == {None}


def test_a_host_that_is_down_is_told_and_the_others_go_on(fresh_ssh_fleet: Fleet) -> None:
    first, *others = fresh_ssh_fleet.hosts
    first.kill()
    answers = run(fresh_ssh_fleet.group(), "true")
    assert [answers[host.address].status for host in others] == [0, 0]
    assert (answers[first.address].status, answers[first.address].said) == (None, "Connection refused")
    with pytest.raises(TargetUnreachable, match=f"^the-target: {first.address}: Connection refused$"):
        ping(fresh_ssh_fleet.group())
    ping(fresh_ssh_fleet.group(may_be_down=1))


def test_a_frozen_host_costs_no_more_than_the_deadline_and_leaves_no_thread(fresh_ssh_fleet: Fleet) -> None:
    before = set(threading.enumerate())
    fresh_ssh_fleet.hosts[0].freeze()
    began = time.monotonic()
    answers = run(fresh_ssh_fleet.group(), "true", timeout=2)
    assert 2 <= time.monotonic() - began < 10
    assert [answers[host.address].status for host in fresh_ssh_fleet.hosts] == [None, 0, 0]
    assert "no answer in time" in answers[fresh_ssh_fleet.hosts[0].address].said
    wait.until(lambda: set(threading.enumerate()) <= before, 30, "the threads of the connections end")


def test_a_connection_lost_in_the_middle_of_a_command_is_not_a_failed_command(fresh_ssh_fleet: Fleet) -> None:
    first = fresh_ssh_fleet.hosts[0]

    def kill_when_begun(_: Sequence[HostAnswer]) -> bool:
        if (first.folder / "begun").exists():
            first.kill()
        return True

    with opened(fresh_ssh_fleet.group(hosts=(first.address,))) as hosts:
        command = sh('touch "$HOST_DIR/begun"; exec sleep 600')
        [answer] = hosts.run(command, hosts.hosts, at_once=1, go_on=kill_when_begun)
    assert answer.status is None


def test_a_connection_is_kept_for_the_next_command_and_made_anew_when_lost(ssh_fleet: Fleet) -> None:
    with opened(ssh_fleet.group()) as hosts:
        peers = [{answer.said for answer in connections(hosts)} for _ in range(2)]
        assert peers[0] == peers[1]
        for client in hosts._clients.values():
            client.close()
        assert {answer.said for answer in connections(hosts)} != peers[0]


def connections(hosts: Any) -> Sequence[HostAnswer]:
    answers: Sequence[HostAnswer] = hosts.run(sh('echo "$SSH_CONNECTION"'), hosts.hosts, at_once=16, go_on=always)
    assert {answer.status for answer in answers} == {0}
    return answers


@pytest.mark.parametrize(
    "raw, why",
    [
        ({"hosts": ["web1", "web1"]}, "one is there twice"),
        ({"hosts": []}, "length >= 1"),
        ({"hosts": ["web1; rm -rf /"]}, "matching regex"),
        ({"passphrase": "the secret itself"}, "never the secret itself"),
    ],
)
def test_a_wrong_group_is_refused(raw: dict[str, Any], why: str) -> None:
    good = {"type": "ssh", "hosts": ["web1", "[::1]:22"], "user": "dr", "known_hosts": "known"}
    msgspec.convert(good, SshGroup)
    with pytest.raises(msgspec.ValidationError, match=why) as refused:
        msgspec.convert({**good, **raw}, SshGroup)
    assert "the secret itself" not in str(refused.value).replace("never the secret itself", "")
