"""A playbook run by the real `dr` over real sshd: killed in the middle, and resumed."""

from functools import partial
from pathlib import Path

import msgspec
import pytest

from dr.demo import wait
from tests.cli.shell import dr, journal, started, types, until, write
from tests.playbooks import SLOWLY, UNMAKE, prepared, processes_about
from tests.sshd import Fleet

RUNBOOK = """\
name: deploy
title: Make a file on every host
steps:
  - id: make
    kind: playbook.run
    with: {hosts: web, playbook: slowly.yml, undo: unmake.yml}
"""


@pytest.fixture
def folder(fresh_ssh_fleet: Fleet, tmp_path: Path) -> Path:
    """Where `dr run deploy.yaml --env site --yes` makes a file on every host."""
    config = msgspec.to_builtins(prepared(fresh_ssh_fleet, tmp_path, {"slowly.yml": SLOWLY, "unmake.yml": UNMAKE}))
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in config.items() if value]
    write(tmp_path, {"deploy.yaml": RUNBOOK, "dr.toml": "\n".join(["[environments.site.targets.web]", *lines])})
    return tmp_path


def test_a_kill_leaves_no_process_and_the_resumed_run_finds_out_what_was_done(
    folder: Path, fresh_ssh_fleet: Fleet
) -> None:
    first, *others = fresh_ssh_fleet.hosts
    (first.folder / "go").touch()  # done on the first host, under way on the others
    with started(folder, "run", "deploy.yaml", "--env", "site", "--yes") as process:
        until(lambda: all(fresh_ssh_fleet.have("begun")) and (first.folder / "made").exists())
        process.kill()
    wait.until(lambda: processes_about(str(folder)) == [], 30, "nothing of it is alive here")
    for host in others:
        wait.until(partial(is_quiet, host.folder), 30, "nothing of it is alive on the host")
        (host.folder / "go").touch()
    seen = dr(folder, "resume", "latest")
    assert seen.status == 0, seen.err
    assert fresh_ssh_fleet.have("made") == [True, True, True]
    assert [len((host.folder / "begun").read_text().split()) for host in fresh_ssh_fleet.hosts] == [1, 2, 2]
    failed = next(event["error"] for event in journal(folder) if event["type"] == "attempt-failed")
    assert "host1" not in failed
    assert "host2: make it slowly: changed" in failed
    assert types(folder).count("apply-started") == 2


def is_quiet(folder: Path) -> bool:
    """Nothing but its sshd is alive on the host of that folder."""
    return all("sshd" in line for line in processes_about(str(folder)))
