"""A runbook over real sshd, through the real `dr`: run, rolled back, killed and resumed."""

from pathlib import Path

import msgspec
import pytest

from tests.cli.shell import dr, journal, started, types, until, write
from tests.sshd import Fleet

RUNBOOK = """\
name: deploy
title: Make a file on every host
steps:
  - id: make
    kind: ssh.command
    with:
      hosts: web
      check: [sh, -c, 'test -e "$HOST_DIR/made"']
      apply: [sh, -c, 'cd "$HOST_DIR"; touch begun; until test -e go; do sleep 0.05; done; echo x >> made']
      undo: [sh, -c, 'rm "$HOST_DIR/made"']
    retry: {attempts: 100, strategy: fixed, wait: 100ms}
"""


@pytest.fixture
def folder(fresh_ssh_fleet: Fleet, tmp_path: Path) -> Path:
    """Where `dr run deploy.yaml --env site --yes` makes a file on every host."""
    group = msgspec.to_builtins(fresh_ssh_fleet.group(), enc_hook=str)
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in group.items() if value is not None]
    write(tmp_path, {"deploy.yaml": RUNBOOK, "dr.toml": "\n".join(["[environments.site.targets.web]", *lines])})
    return tmp_path


def let_go(fleet: Fleet) -> None:
    for host in fleet.hosts:
        (host.folder / "go").touch()


def made(fleet: Fleet) -> list[str]:
    return [(host.folder / "made").read_text() for host in fleet.hosts if (host.folder / "made").exists()]


def test_a_run_reaches_every_host_and_a_second_one_finds_it_done(folder: Path, fresh_ssh_fleet: Fleet) -> None:
    let_go(fresh_ssh_fleet)
    seen = dr(folder, "run", "deploy.yaml", "--env", "site", "--yes")
    assert seen.status == 0, seen.err
    assert made(fresh_ssh_fleet) == ["x\n"] * 3
    assert dr(folder, "audit", "verify", "latest").status == 0
    assert dr(folder, "run", "deploy.yaml", "--env", "site", "--yes").status == 0
    assert made(fresh_ssh_fleet) == ["x\n"] * 3


def test_a_killed_run_is_resumed_without_running_a_command_twice(folder: Path, fresh_ssh_fleet: Fleet) -> None:
    with started(folder, "run", "deploy.yaml", "--env", "site", "--yes") as process:
        until(lambda: all(fresh_ssh_fleet.have("begun")))
        process.kill()
    assert types(folder)[-1] == "apply-started"
    with started(folder, "resume", "latest") as process:
        until(lambda: "step-unseen" in types(folder))
        assert "still running" in next(event["why"] for event in journal(folder) if event["type"] == "step-unseen")
        let_go(fresh_ssh_fleet)
        assert process.wait(60) == 0
    assert made(fresh_ssh_fleet) == ["x\n"] * 3
    assert types(folder).count("apply-started") == 1


def test_a_run_that_fails_later_is_rolled_back_on_every_host(folder: Path, fresh_ssh_fleet: Fleet) -> None:
    let_go(fresh_ssh_fleet)
    (fresh_ssh_fleet.hosts[0].folder / "made").write_text("theirs\n")
    fails = "  - {id: fail, kind: ssh.command, on_failure: rollback, retry: {attempts: 1}, with: "
    fails += "{hosts: web, check: ['false'], apply: ['false'], undo: ['true']}}\n"
    (folder / "deploy.yaml").write_text(RUNBOOK + fails)
    seen = dr(folder, "run", "deploy.yaml", "--env", "site", "--yes")
    assert seen.status == 4, seen.err
    assert made(fresh_ssh_fleet) == ["theirs\n"]


def test_a_host_that_is_down_is_told_before_anything_is_touched(folder: Path, fresh_ssh_fleet: Fleet) -> None:
    fresh_ssh_fleet.hosts[1].kill()
    seen = dr(folder, "run", "deploy.yaml", "--env", "site", "--yes")
    assert seen.status == 16
    assert f"web: {fresh_ssh_fleet.hosts[1].address}: Connection refused" in seen.err
    assert fresh_ssh_fleet.have("begun") == [False, False, False]
