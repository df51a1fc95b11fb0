"""What the project claims about itself before a line of it runs: its lock, its licence, its command, its guards."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, metadata, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = (
    "requirements.lock",
    "benchmarks/peers.lock",
    "tests/patroni/patroni.lock",
    "localstack/localstack-2026.3.0.lock",
    "localstack/localstack-4.13.1.lock",
)


def project_table() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def declared(*extras: str) -> list[Requirement]:
    project = project_table()["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


def pins(lock: str) -> dict[str, list[str]]:
    """Each distribution's pinned versions: two where an older Python needs an older one."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(name, []).append(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_no_host_and_no_place_on_a_machine(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.findall(r"\S*(?:://|--index|--extra-index|--find-links|--trusted-host|file:)\S*", text)
    assert not re.findall(r"(?<![\w.])/(?:opt|home|root|tmp|usr|work)\b\S*", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_carries_hashes(lock: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_pins_every_declared_dependency_within_its_bounds() -> None:
    pinned = pins("requirements.lock")
    wanted = declared("ansible", "demo", "dev")
    assert [str(r) for r in wanted if canonicalize_name(r.name) not in pinned] == []
    outside = [(str(r), v) for r in wanted for v in pinned[canonicalize_name(r.name)] if v not in r.specifier]
    assert outside == []


def test_the_core_is_forbidden_every_declared_dependency_but_msgspec() -> None:
    """Import-linter can forbid names, not "all but one": a new dependency must be added to its list."""
    contracts = project_table()["tool"]["importlinter"]["contracts"]
    (forbidden,) = [set(c["forbidden_modules"]) for c in contracts if c["type"] == "forbidden"]
    wanted = {canonicalize_name(r.name) for r in declared("ansible", "demo")} - {"msgspec"}
    modules = {
        module
        for module, distributions in packages_distributions().items()
        if wanted & {canonicalize_name(name) for name in distributions} and not module.startswith("_")
    }
    assert modules - forbidden == set()
    assert "msgspec" not in forbidden


def test_every_import_contract_is_named_by_a_sentence() -> None:
    names = [contract["name"] for contract in project_table()["tool"]["importlinter"]["contracts"]]
    assert all(name[0].isupper() and len(name.split()) > 4 for name in names)


def test_the_installed_command_and_python_m_dr_are_the_same_program() -> None:
    (command,) = entry_points(group="console_scripts", name="dr")
    assert command.value == "dr.cli.main:main"
    script = subprocess.run([Path(sys.executable).parent / "dr", "--help"], capture_output=True, text=True, check=True)
    module = subprocess.run([sys.executable, "-m", "dr", "--help"], capture_output=True, text=True, check=True)
    assert script.stdout == module.stdout


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert metadata("dr-runbooks")["License-Expression"] == "Apache-2.0"
    for heading in (
        "Apache License",
        "Version 2.0, January 2004",
        "9. Accepting Warranty",
        "END OF TERMS AND CONDITIONS",
    ):
        assert heading in text


def test_the_guard_runs_the_command_that_the_readme_names() -> None:
    guard = ROOT / ".ci" / "run"
    assert guard.stat().st_mode & stat.S_IXUSR
    assert "DR_REQUIRE_ALL=1" in guard.read_text()
    assert "make test" in guard.read_text()
    assert "make test" in (ROOT / "README.md").read_text()


SKIPS = {
    "mark": "import pytest\n@pytest.mark.skip(reason='no proxy here')\ndef test_it(): pass\n",
    "condition": "import pytest\n@pytest.mark.skipif(True, reason='no proxy here')\ndef test_it(): pass\n",
    "call": "import pytest\ndef test_it(): pytest.skip('no proxy here')\n",
    "fixture": "import pytest\n@pytest.fixture\ndef proxy(): pytest.skip('no proxy here')\ndef test_it(proxy): pass\n",
    "module": "import pytest\npytest.skip('no proxy here', allow_module_level=True)\n",
}
OPT_IN = "import pytest\n@pytest.mark.opt_in('make it')\n" + SKIPS["call"].partition("\n")[2]
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): raise OSError\n"


def run_pytest(folder: Path, sources: dict[str, str], *, require_all: str) -> str:
    for name, source in sources.items():
        (folder / f"test_{name}.py").write_text(source)
    options = ["-q", "-p", "tests.strict", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={**os.environ, "DR_REQUIRE_ALL": require_all, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_every_way_to_skip_fails_where_everything_is_required(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, SKIPS, require_all="1")
    assert "1 failed, 4 errors" in output.splitlines()[-1]  # only one of them skips in the middle of the test
    assert output.count("was not run although DR_REQUIRE_ALL is set") >= len(SKIPS)
    assert output.count("no proxy here") >= len(SKIPS)


def test_a_skip_stays_a_skip_on_a_laptop(tmp_path: Path) -> None:
    assert f"{len(SKIPS)} skipped" in run_pytest(tmp_path, SKIPS, require_all="").splitlines()[-1]


def test_an_opt_in_that_is_not_taken_stays_a_skip(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, {"large": OPT_IN}, require_all="1")
    assert "1 skipped" in output.splitlines()[-1]


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, {"known": EXPECTED_FAILURE}, require_all="1")
    assert "1 xfailed" in output.splitlines()[-1]
