"""What is wrong with a runbook is told with its place and what was meant; nothing is touched."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import GOOD, dr, environment, refused, write

WRONG = {
    "unknown kind": (
        GOOD.replace("feature.disable", "feature.disabel"),
        "7:11: unknown kind 'feature.disabel' (did you mean 'feature.disable'?)",
    ),
    "misspelt field": (GOOD.replace("    with:", "    wiht:"), "8:5: unknown field 'wiht' (did you mean 'with'?)"),
    "misspelt parameter of a kind": (
        GOOD.replace('flag: "', 'flga: "'),
        "8:26: unknown field 'flga' (did you mean 'flag'?)",
    ),
    "misspelt field of the head": (
        GOOD.replace("title", "titel"),
        "2:1: unknown field 'titel' (did you mean 'title'?)",
    ),
    "missing field": (GOOD.replace("store: flags, ", ""), "8:11: the field 'store' is missing"),
    "wrong type": (GOOD.replace('flag: "${feature}"', "flag: [a]"), "8:32: expected text, got a list"),
    "wrong type of the steps": (GOOD[: GOOD.index("steps:")] + "steps: many\n", "5:8: expected a list, got text"),
    "no steps": (GOOD[: GOOD.index("steps:")] + "steps: []\n", "5:8: expected a list of length >= 1"),
    "duplicate id": (GOOD + GOOD[GOOD.index("  - id") :], "9:9: the id 'off' is there twice"),
    "duplicate key": (GOOD + "name: other\n", "9:1: the key 'name' is there twice"),
    "unknown parameter": (
        GOOD.replace("${feature}", "${featur}"),
        "8:32: unknown parameter ${featur} (did you mean 'feature'?)",
    ),
    "unknown target": (
        GOOD.replace("store: flags", "store: flag"),
        "8:19: the environment shop has no target 'flag' (did you mean 'flags'?)",
    ),
    "bad duration": (
        GOOD + "    timeout: 30 seconds\n",
        "9:14: '30 seconds' is not a duration; write a number with a unit, such as 500ms, 30s, 5m or 1h30m",
    ),
    "duration without a unit": (GOOD + "    timeout: 30\n", "9:14: 30 is not a duration"),
    "bad name": (
        GOOD.replace("id: off", "id: Off it"),
        "6:9: a name is made of lower-case letters, digits and hyphens",
    ),
    "not a mapping": ("- a\n- b\n", "1:1: expected a mapping, got a list"),
    "a bomb of aliases": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "1:4: an anchor (&a); anchors and aliases are not allowed",
    ),
    "a tag": (
        GOOD.replace("title: ", "title: !!python/object:os.system "),
        "2:8: a tag (tag:yaml.org,2002:python/object:os.system)",
    ),
    "tabs": (GOOD.replace("    kind", "\tkind"), "7:1: a tab; YAML is indented with spaces"),
    "empty": ("", "1:1: the file is empty"),
    "only a comment": ("# nothing\n", "1:1: the file is empty"),
    "two documents": (GOOD + "---\n" + GOOD, "9:1: a second document; a runbook is one document"),
    "nested without end": ("a: " + "[" * 100 + "]" * 100, "1:24: values are nested more than 20 deep"),
    "a character YAML forbids": (GOOD.replace("floods", "fl\x00ods"), "2:26: a character that YAML does not allow"),
    "not closed": (GOOD.replace("[", "").replace("search}", "search"), "5:6: expected ',' or '}'"),
}


@pytest.mark.parametrize("text, told", WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_runbook_is_told_with_its_place(text: str, told: str, folder: Path) -> None:
    write(folder, {"bad.yaml": text})
    assert f"bad.yaml:{told}" in refused(folder, "run", "bad.yaml", "--env", "shop", "--yes", status=8)


def test_a_runbook_of_ten_megabytes_is_not_read(folder: Path) -> None:
    write(folder, {"bad.yaml": GOOD + "# " + "x" * 10_000_000})
    told = refused(folder, "run", "bad.yaml", "--env", "shop", "--yes", status=8)
    assert "bad.yaml: it is larger than 1,000,000 bytes" in told


def test_a_byte_that_is_not_utf8_is_named_with_its_place(folder: Path) -> None:
    (folder / "bad.yaml").write_bytes(GOOD.encode().replace(b"floods", b"fl\xf6ds"))
    assert "bad.yaml:2:26: byte 0xf6 is not UTF-8" in refused(
        folder, "run", "bad.yaml", "--env", "shop", "--yes", status=8
    )


def test_a_link_that_leads_to_itself_is_no_runbook(folder: Path) -> None:
    (folder / "bad.yaml").symlink_to("bad.yaml")
    told = refused(folder, "run", "bad.yaml", "--env", "shop", "--yes", status=8)
    assert "bad.yaml: it is a symbolic link that leads back to itself" in told


@pytest.mark.parametrize(
    "name, why",
    [
        ("none.yaml", "no such file or directory"),
        (".", "is a directory"),
        ("good.yaml/x", "not a directory"),
        (b"\xff.yaml".decode("utf-8", "surrogateescape"), "no such file"),
    ],
)
def test_what_is_no_file_is_no_runbook(name: str, why: str, folder: Path) -> None:
    assert f"it cannot be read: {why}" in refused(folder, "run", name, "--env", "shop", "--yes", status=8)


def test_a_check_finds_the_target_that_only_an_ungraceful_run_would_miss(folder: Path) -> None:
    write(folder, {"bad.yaml": GOOD + "    ungraceful: {store: spare}\n"})
    assert dr(folder, "check", "bad.yaml").status == 0  # its targets are another matter
    told = refused(folder, "check", "bad.yaml", "--env", "shop", status=8)
    assert "bad.yaml:9:25: the environment shop has no target 'spare'" in told


def test_of_several_runbooks_each_wrong_one_is_told(folder: Path) -> None:
    write(folder, {"bad.yaml": WRONG["tabs"][0], "worse.yaml": WRONG["empty"][0]})
    seen = dr(folder, "check", "bad.yaml", "good.yaml", "worse.yaml")
    assert (seen.status, seen.out) == (8, "good.yaml: well (1 step)\n")
    assert "bad.yaml:7:1: a tab" in seen.err
    assert "worse.yaml:1:1: the file is empty" in seen.err


def test_a_check_without_an_environment_loads_nothing_that_only_a_run_needs(folder: Path) -> None:
    code = (
        "import sys, atexit; from dr.cli.main import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "main(['check', 'good.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert {"dr.bind", "dr.steps.feature_flag"} <= loaded
    assert not {"dr.environment", "dr.audit", "dr.steps.notify", "hashlib", "logging", "socket", "tomllib"} & loaded
