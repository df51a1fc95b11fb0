import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from dr.demo import wait
from dr.errors import PartMissing
from dr.targets.ansible import AnsibleHosts
from dr.targets.playbooks import Play, PlayEnd, TaskEnd
from dr.targets.protocols import TargetUnreachable
from dr.targets.transport import ansible_play
from dr.targets.transport.ansible_supervisor import CALLBACKS, descendants
from tests.here import RUN, Secrets, opened
from tests.playbooks import SLOWLY, clean, prepared, processes_about
from tests.sshd import Fleet

SECRET = "xyzzy-the-password"
SPY = """\
  - {name: spy, delegate_to: localhost, shell: ps -A ww -o args= > seen, args: {chdir: "{{ inventory_dir }}"}}
  - {name: use it, copy: {content: "{{ password }}", dest: "{{ host_dir }}/made"}, no_log: true}
"""


@pytest.fixture
def web(ssh_fleet: Fleet) -> Iterator[Fleet]:
    """One of the hosts: Ansible takes its time for each."""
    yield replace(ssh_fleet, hosts=ssh_fleet.hosts[:1])
    clean(ssh_fleet)


def play(config: AnsibleHosts, playbook: str, **how: Any) -> tuple[PlayEnd, list[TaskEnd]]:
    heard: list[TaskEnd | None] = []
    with opened(config, **how) as hosts:
        end = hosts.play(Play(playbook=playbook, variables={}), heard.append)
    return end, [task for task in heard if task is not None]


def test_a_secret_reaches_the_playbook_and_nobody_else(
    web: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a place for temporary files with a name too long for a socket" / "temporary"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.setattr("tempfile.tempdir", None)
    config = prepared(web, tmp_path, {"use.yml": SPY}, secrets={"password": "env:DB_PASSWORD"})
    modes: dict[str, int] = {}
    heard: list[TaskEnd | None] = []

    def look(task: TaskEnd | None) -> None:
        heard.append(task)
        for base, _, names in os.walk(folder):
            for path in (Path(base, name) for name in names):
                with suppress(OSError):  # gone meanwhile
                    if SECRET.encode() in path.read_bytes():
                        modes[path.name] = path.stat().st_mode & 0o777

    secrets = Secrets({"env:DB_PASSWORD": SECRET})
    with opened(config, secrets=secrets) as hosts:
        end = hosts.play(Play(playbook="use.yml", variables={}), look)
    assert end.status == 0, heard
    assert (web.hosts[0].folder / "made").read_text() == SECRET
    assert set(modes.values()) == {0o600}
    assert list(folder.iterdir()) == []
    seen = (tmp_path / "seen").read_text()
    assert "ansible-playbook" in seen
    assert SECRET not in seen
    assert SECRET not in str(heard)


def test_dr_s_own_environment_is_not_ansible_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.setenv("ANSIBLE_CONFIG", "/somewhere/else")
    assert {"DB_PASSWORD", "ANSIBLE_CONFIG"}.isdisjoint(ansible_play.environment())


def test_a_vault_opens_with_its_password_only(web: Fleet, tmp_path: Path) -> None:
    tasks = "  - {name: use it, copy: {content: '{{ word }}', dest: '{{ host_dir }}/made'}}\n"
    config = prepared(web, tmp_path, {"use.yml": tasks}, vault_password="env:VAULT")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("word: from the vault\n")
    (tmp_path / "password").write_text(SECRET)
    encrypt = ["ansible-vault", "encrypt", "--vault-password-file=password", "group_vars/all.yml"]
    subprocess.run(encrypt, cwd=tmp_path, env=ansible_play.environment(), check=True, capture_output=True)
    end, _ = play(config, "use.yml", secrets=Secrets({"env:VAULT": SECRET}))
    assert (end.status, (web.hosts[0].folder / "made").read_text()) == (0, "from the vault")
    with pytest.raises(LookupError, match="played on no host"):
        play(config, "use.yml", secrets=Secrets({"env:VAULT": "another one"}))


def test_what_ansible_starts_is_ended_also_when_the_playbook_ends_well(web: Fleet, tmp_path: Path) -> None:
    leaves = """\
  - name: leave it
    delegate_to: localhost
    ansible.builtin.shell: setsid sleep 600 >/dev/null 2>&1 &
    args: {chdir: "{{ inventory_dir }}"}
"""
    config = prepared(web, tmp_path, {"leave.yml": leaves})
    end, tasks = play(config, "leave.yml")
    assert end.status == 0, tasks
    assert [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(tmp_path)] == []
    assert processes_about(str(tmp_path)) == []


def test_an_error_in_the_listener_ends_the_playbook(web: Fleet, tmp_path: Path) -> None:
    config = prepared(web, tmp_path, {"slowly.yml": SLOWLY})

    def give_up(_: TaskEnd | None) -> None:
        if web.have("begun") == [True]:
            raise KeyError

    with opened(config) as hosts, pytest.raises(KeyError):
        hosts.play(Play(playbook="slowly.yml", variables={}), give_up)
    assert processes_about(str(tmp_path)) == []


def test_a_second_playbook_of_the_same_step_waits_for_the_end_of_the_first(web: Fleet, tmp_path: Path) -> None:
    config = prepared(web, tmp_path, {"slowly.yml": SLOWLY})
    refused: list[str] = []

    def try_again(_: TaskEnd | None) -> None:
        if web.have("begun") == [True]:
            with pytest.raises(TargetUnreachable, match="a playbook of this step is still being ended"):
                play(config, "slowly.yml", label=f"dr:{RUN}:step:2")
            refused.append("yes")
            (web.hosts[0].folder / "go").touch()

    with opened(config, label=f"dr:{RUN}:step:1") as hosts:
        assert hosts.play(Play(playbook="slowly.yml", variables={}), try_again).status == 0
    assert refused
    assert not ansible_play.is_under_way(f"dr:{RUN}:step:")


def test_the_supervisor_killed_is_told_as_that(web: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its folder stays: nobody is left to remove it
    config = prepared(web, tmp_path, {"slowly.yml": SLOWLY})

    def kill(_: TaskEnd | None) -> None:
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # another child may end at any moment
                if ansible_play.SUPERVISOR in process.cmdline() and web.have("begun") == [True]:
                    for pid in (process.pid, *descendants(process.pid)):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)

    with opened(config) as hosts, pytest.raises(TargetUnreachable, match="ansible-runner broke off"):
        hosts.play(Play(playbook="slowly.yml", variables={}), kill)
    wait.until(lambda: processes_about(str(tmp_path)) == [], 30, "they end")


def test_what_is_missing_is_named_before_anything_is_touched(
    web: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepared(web, tmp_path, {})
    with opened(config) as hosts:
        hosts.ping()
    with opened(msgspec.structs.replace(config, inventory="/none")) as hosts, pytest.raises(TargetUnreachable):
        hosts.ping()
    monkeypatch.setattr(ansible_play, "search_path", lambda: "/none")
    with opened(config) as hosts, pytest.raises(PartMissing, match="ansible-playbook is not installed"):
        hosts.ping()


@pytest.mark.parametrize("field", [{"vault_password": SECRET}, {"secrets": {"password": SECRET}}])
def test_a_secret_itself_is_refused_and_not_repeated(field: dict[str, Any]) -> None:
    raw = {"type": "ansible", "inventory": "inventory", "playbooks": "playbooks", **field}
    with pytest.raises(msgspec.ValidationError, match="never the secret itself") as refused:
        msgspec.convert(raw, AnsibleHosts)
    assert SECRET not in str(refused.value)


def test_ansible_finds_the_callback_plugin_where_it_is_told_to_look() -> None:
    assert (CALLBACKS / "dr_skipped.py").is_file()
