"""What is wrong with the command line or dr.toml is told before anything is touched."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import GOOD, SHOP, dr, refused, write

NEEDS = GOOD.replace("{default: search}", "{type: integer, description: how many}").replace("${feature}", "f${feature}")
COMMAND_LINES = {
    "an environment that is not there": (["--env", "shpo"], "dr.toml has no environment 'shpo' (did you mean 'shop'?)"),
    "an environment that is no text": (["--env", "\udcff"], "dr.toml has no environment '\\udcff' (known: shop)"),
    "no environment": ([], "Missing option '--env'"),
    "a parameter without a value": (["--env", "shop", "-p", "feature"], "-p takes NAME=VALUE, not 'feature'"),
    "a parameter without a name": (["--env", "shop", "-p", "=x"], "the runbook has no parameter ''"),
    "a parameter that is not there": (
        ["--env", "shop", "-p", "featur=1"],
        "the runbook has no parameter 'featur' (did you mean 'feature'?)",
    ),
    "a parameter of another type": (
        ["--env", "shop", "-p", "feature=many"],
        "the parameter 'feature' is of type integer, and 'many' is not",
    ),
    "a parameter given twice": (
        ["--env", "shop", "-p", "feature=1", "-p", "feature=2"],
        "the parameter 'feature' is given twice",
    ),
    "a parameter that is missing": (["--env", "shop"], "the parameter 'feature' (how many) is missing"),
    "a parameter that is no text": (["--env", "shop", "-p", "feature=\udcff"], "-p takes UTF-8 text"),
    "a reason that is no text": (["--env", "shop", "--reason", "\udcff"], "--reason takes UTF-8 text"),
    "a time that is none": (
        ["--env", "shop", "--detected", "yesterday"],
        "--detected takes a time such as 2023-05-15T10:00:00-04:00, not 'yesterday'",
    ),
    "a time before all times": (["--env", "shop", "--detected", "0001-01-01"], "--detected takes a time"),
    "a time to come": (["--env", "shop", "--detected", "2999-01-01"], "--detected is in the future: 2999-01-01"),
    "nobody to ask": (["--env", "shop", "-p", "feature=1", "--not-yes"], "No such option"),
    "a journal that is a file": (
        ["--env", "shop", "-p", "feature=1", "--journal", "flags.json"],
        "flags.json is a file",
    ),
}


@pytest.mark.parametrize("arguments, told", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_what_is_wrong_with_the_command_line_is_told(arguments: list[str], told: str, folder: Path) -> None:
    write(folder, {"needs.yaml": NEEDS})
    assert told in refused(folder, "run", "needs.yaml", "--yes", *arguments, status=2)


def test_a_run_is_not_begun_where_nobody_can_be_asked(folder: Path) -> None:
    told = refused(folder, "run", "good.yaml", "--env", "shop", status=2)
    assert "add --yes to run without asking" in told


@pytest.mark.parametrize("command", ["frobnicate", "rnu", "--frobnicate"])
def test_a_command_that_is_not_there_is_told(command: str, folder: Path) -> None:
    told = refused(folder, command, status=2)
    assert "No such" in told
    assert ("Did you mean 'run'?" in told) == (command == "rnu")


DATABASE = f'{SHOP}[environments.shop.targets.db]\ntype = "postgresql"\n'
TOML = {
    "not there": (None, ": it cannot be read: no such file or directory"),
    "empty": ("", ":1:1: the field 'environments' is missing"),
    "not TOML": (SHOP + "path =\n", ":4:7: Invalid value"),
    "cut off": (SHOP + 'description = "the', ":4:19: Unterminated string"),
    "a table twice": (SHOP + SHOP, ":4:"),
    "misspelt section": (
        SHOP + "[jurnal]\ndirectory = 'x'\n",
        ":4:1: unknown field 'jurnal' (did you mean 'journal'?)",
    ),
    "misspelt field": (SHOP.replace("path", "pth"), ":3:1: unknown field 'pth' (did you mean 'path'?)"),
    "missing field": (SHOP.replace("path", "# path"), ":1:1: the field 'path' is missing"),
    "unknown type": (
        SHOP.replace("flagd-file", "flagd-fil"),
        ":2:1: 'flagd-fil' is not a type of target (did you mean 'flagd-file'?)",
    ),
    "no type": (SHOP.replace("type", "# type"), ":1:1: the field 'type' is missing"),
    "wrong type": (SHOP.replace('"flags.json"', "3"), ":3:1: expected text, got a whole number"),
    "a target that is no table": (
        '[environments.shop.targets]\nflags = "flags.json"\n',
        ":2:1: expected a mapping, got text",
    ),
    "a secret in the clear": (
        DATABASE + 'dsn = "host=h"\npassword = "hunter2"\n',
        "write where the secret stands, env:NAME, file:PATH, aws-secret:ID or ssm:NAME",
    ),
    "a password in a connection string": (DATABASE + 'dsn = "host=h password=hunter2"\n', "dsn: it holds a password"),
    "a bad name": (
        SHOP.replace("environments.shop", 'environments."My Shop"'),
        ":1:1: 'My Shop': a name is made of lower-case letters",
    ),
}


@pytest.mark.parametrize("text, told", TOML.values(), ids=TOML)
def test_what_is_wrong_with_dr_toml_is_told_with_its_place(text: str | None, told: str, folder: Path) -> None:
    (folder / "dr.toml").unlink()
    if text is not None:
        write(folder, {"dr.toml": text})
    said = refused(folder, "run", "good.yaml", "--env", "shop", "--yes", status=8)
    assert "dr.toml" + told in said or (not told.startswith(":") and told in said)
    assert "hunter2" not in said


def test_dr_toml_that_is_not_utf8_is_told(folder: Path) -> None:
    (folder / "dr.toml").write_bytes(SHOP.encode() + b"# f\xf6r\n")
    assert "dr.toml:4:4: byte 0xf6 is not UTF-8" in refused(
        folder, "run", "good.yaml", "--env", "shop", "--yes", status=8
    )


@pytest.mark.parametrize("option", ["runbook", "config"])
def test_a_file_without_end_is_not_read_to_it(option: str, folder: Path) -> None:
    files = {"runbook": "good.yaml", "config": "dr.toml", option: "/dev/zero"}
    told = refused(folder, "run", files["runbook"], "--env", "shop", "--yes", "--config", files["config"], status=8)
    assert "/dev/zero: it is larger than 1,000,000 bytes" in told


ASKS = GOOD.replace("    kind: feature.disable", "    confirm: true\n    kind: feature.disable")


def test_the_commands_it_names_work_as_they_are_printed_wherever_journal_and_dr_toml_are(folder: Path) -> None:
    write(
        folder,
        {"not here/dr.toml": SHOP, "asks.yaml": ASKS, "not here/flags.json": (folder / "flags.json").read_text()},
    )
    (folder / "dr.toml").unlink()
    paused = dr(
        folder, "run", "asks.yaml", "--env", "shop", "--yes", "--config", "not here/dr.toml", "--journal", "kept"
    )
    assert paused.status == 5
    [after_a_crash] = [line for line in paused.out.splitlines() if line.startswith("run ")]
    resume = after_a_crash.partition("should this process die: ")[2].removesuffix(")")
    assert dr(folder, *shlex.split(resume)[1:]).status == 5
    answer = paused.err.splitlines()[-1].removeprefix("next:   ").partition("   (")[0].replace("ANSWER", "yes")
    ended = dr(folder, *shlex.split(answer)[1:])
    assert ended.status == 0, ended.err
    refused_again = dr(folder, *shlex.split(resume)[1:])
    assert refused_again.status == 13
    assert dr(folder, *shlex.split(refused_again.err.splitlines()[-1].removeprefix("next:   "))[1:]).status == 0


def test_what_an_environment_variable_says_is_not_told_again(folder: Path) -> None:
    paused = dr(folder, "run", "good.yaml", "--env", "shop", "--yes", DR_JOURNAL="kept")
    assert "--journal" not in paused.out + paused.err


def test_a_shell_that_is_given_the_command_as_it_stands_answers_nothing(folder: Path) -> None:
    write(folder, {"asks.yaml": ASKS})
    paused = dr(folder, "run", "asks.yaml", "--env", "shop", "--yes")
    told = paused.err.splitlines()[-1].removeprefix("next:   ")
    subprocess.run(["bash", "-c", told.replace("dr answer", "touch answered", 1)], cwd=folder, check=False)
    assert "yes" in told
    assert not (folder / "answered").exists()


def test_where_there_is_no_dr_toml_it_is_told_how_to_name_one(folder: Path) -> None:
    (folder / "dr.toml").unlink()
    assert "next:   name another with --config FILE" in refused(folder, "audit", "verify", "latest", status=8)
