"""What is in the journal is shown as it is, whatever state it is in."""

from pathlib import Path

import pytest

from tests.cli.shell import refused

RUN_COMMANDS = [["show"], ["resume"], ["rollback"], ["answer", "retry"], ["audit", "verify"], ["audit", "show"]]


@pytest.mark.parametrize(
    "name", ["../x", "", "/", "..", "latest", "2023", "a\nb", "\udcff", "x" * 300, "runs/../../good.yaml"]
)
def test_a_name_that_is_no_run_finds_nothing(name: str, folder: Path) -> None:
    assert "there is no run" in refused(folder, "resume", name, status=12)


@pytest.mark.parametrize("command", RUN_COMMANDS, ids=" ".join)
def test_every_command_on_a_run_refuses_one_that_is_not_there(command: list[str], folder: Path) -> None:
    verb, rest = (command[:2], []) if command[0] == "audit" else (command[:1], command[1:])
    refused(folder, *verb, "latest", *rest, status=12)


def test_a_journal_directory_that_cannot_be_made_stops_before_anything_is_touched(folder: Path) -> None:
    told = refused(folder, "run", "good.yaml", "--env", "shop", "--yes", "--journal", "flags.json/journal", status=14)
    assert "Not a directory" in told
    assert "no run was started" in told
