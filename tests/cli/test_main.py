"""The command group: what it loads, what it says of itself, and how a process of it ends."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from dr.cli.main import COMMANDS, cli
from dr.errors import exit_statuses
from tests.cli.shell import ROOT, dr, environment

HEAVY = {"ansible_runner", "boto3", "cryptography", "paramiko", "psycopg", "rich", "tenacity", "yaml"}
PATHS = [*COMMANDS, "audit verify", "audit show", "audit export", "audit sign"]


def command(path: str) -> click.Command:
    found: click.Command = cli
    for name in path.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    return found


@pytest.mark.parametrize("path", ["", *PATHS])
def test_help_loads_nothing_heavy(path: str, tmp_path: Path) -> None:
    code = (
        "import sys, atexit; from dr.cli.main import main\n"
        "atexit.register(lambda: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *path.split(), "--help"], cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Usage: dr" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_the_heavy_libraries_are_those_that_are_declared() -> None:
    """A heavy library that is declared one day is added to the list above, or this fails."""
    light = {"click", "msgspec"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project[project.index("dependencies = [") : project.index("]\n", project.index("dependencies = ["))]
    declared = {line.strip(' ",').split(">")[0].split("[")[0].replace("-", "_") for line in block.splitlines()[1:]}
    modules = {"PyYAML": "yaml"}
    assert {modules.get(name, name) for name in declared} == HEAVY | light


@pytest.mark.parametrize("path", PATHS)
def test_every_command_shows_examples_that_begin_with_its_name(path: str) -> None:
    epilog = command(path).epilog
    assert epilog is not None
    assert "Examples:\n" in epilog
    assert any(line.strip().startswith(f"dr {path}") for line in epilog.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    assert COMMANDS[name][1] == (command(name).help or "").split("\n")[0]


def test_help_names_every_command_and_exit_status(tmp_path: Path) -> None:
    seen = dr(tmp_path, "--help").out
    for name in COMMANDS:
        assert f"\n  {name} " in seen
    for status, code, _ in exit_statuses():
        assert f"{status:3} {code}" in seen


def test_the_readme_holds_the_table_of_exit_statuses() -> None:
    """To write it anew: python -c "from tests.cli.test_main import table; print(table())"."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = readme.partition("<!-- exit-statuses -->\n")[2].partition("<!-- /exit-statuses -->")[0]
    assert written == table()


def table() -> str:
    """The exit statuses as the README shows them."""
    rows = [f"| {status} | `{code}` | {meaning} |\n" for status, code, meaning in exit_statuses()]
    return "".join(["| status | code | meaning |\n", "|---|---|---|\n", *rows])


@pytest.mark.parametrize(
    "typed, offered",
    [
        (["dr", ""], set(COMMANDS)),
        (["dr", "re"], {"resume"}),
        (["dr", "audit", ""], {"verify", "show", "export", "sign", "sync"}),
        (["dr", "run", "--e"], {"--endpoint", "--env"}),
        (["dr", "answer", "latest", "ro"], {"rollback"}),
    ],
)
def test_the_shell_completes(typed: list[str], offered: set[str], tmp_path: Path) -> None:
    words = {"COMP_WORDS": "\n".join(typed), "COMP_CWORD": str(len(typed) - 1)}
    seen = dr(tmp_path, _DR_COMPLETE="bash_complete", **words)
    assert {line.partition(",")[2] for line in seen.out.splitlines()} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_completion_is_printed(shell: str, tmp_path: Path) -> None:
    seen = dr(tmp_path, _DR_COMPLETE=f"{shell}_source")
    assert seen.status == 0
    assert "_DR_COMPLETE" in seen.out
