"""Which LocalStack is installed depends on the Python versions that really run here."""

import sys
from pathlib import Path

import pytest
import yaml

from localstack.install import HERE, RELEASES, choose, interpreters, runs

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Python, but for what the test puts below this directory."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path


def put(program: Path, text: str) -> Path:
    program.parent.mkdir(parents=True)
    program.write_text(text)
    program.chmod(0o755)
    return program


def test_a_shim_that_stands_for_no_python_is_passed_over(nowhere: Path) -> None:
    shim = put(nowhere / f"bin/python{VERSION}", "#!/bin/sh\necho 'version not set' >&2\nexit 127\n")
    real = put(
        nowhere / f"pyenv/versions/{VERSION}.0/bin/python{VERSION}", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    )
    assert list(interpreters(VERSION)) == [shim, real]
    assert [each for each in interpreters(VERSION) if runs(each, VERSION)] == [real]


def test_a_python_of_another_version_under_that_name_is_passed_over(nowhere: Path) -> None:
    other = put(nowhere / "uv/cpython-3.99.0-linux/bin/python3.99", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert list(interpreters("3.99")) == [other]
    assert not runs(other, "3.99")


def test_a_file_that_is_no_program_is_passed_over(nowhere: Path) -> None:
    assert not runs(put(nowhere / "bin/python3.99", "\0"), "3.99")


@pytest.mark.usefixtures("nowhere")
def test_without_a_fitting_python_it_is_said_which_would_do() -> None:
    with pytest.raises(LookupError, match=r"3\.13, 3\.12, 3\.11$"):
        choose()


def test_every_release_is_pinned() -> None:
    for release in RELEASES:
        assert f"\nlocalstack-core=={release.version} " in release.lock.read_text()


def test_dockers_image_is_pinned_by_digest_runs_the_same_scripts_and_is_published_on_loopback() -> None:
    (service,) = yaml.safe_load((HERE / "compose.yaml").read_text())["services"].values()
    name, _, digest = service["image"].partition("@sha256:")
    assert name.startswith("localstack/localstack:")
    assert len(bytes.fromhex(digest)) == 32
    assert service["volumes"] == ["./init:/etc/localstack/init/ready.d:ro"]
    assert list((HERE / "init").glob("*.py"))
    assert [port.startswith("127.0.0.1:") for port in service["ports"]] == [True]
