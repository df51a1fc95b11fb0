"""Install LocalStack into a virtual environment of its own: `python -m localstack.install DIRECTORY`.

It pins boto3 and a hundred megabytes of other things exactly, so it shares an environment with nobody. Which release is
installed depends on the Python interpreters of this machine; the newest one that can run wins.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent

# Version managers put a name on PATH that stands for a Python nobody chose: what counts is that it runs. LocalStack
# needs all of these; Debian's Python comes without ensurepip.
PROBE = "import bz2, ctypes, ensurepip, lzma, sqlite3, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


class Release(NamedTuple):
    """A release of LocalStack and the Python versions its pinned files exist for, the preferred one first."""

    version: str
    pythons: tuple[str, ...]

    @property
    def lock(self) -> Path:
        return HERE / f"localstack-{self.version}.lock"


RELEASES = (Release("2026.3.0", ("3.13",)), Release("4.13.1", ("3.12", "3.11")))


def interpreters(version: str) -> Iterator[Path]:
    """Where a Python of this version (`3.13`) may be: on PATH, or among those of pyenv and uv, which need not be."""
    name = f"python{version}"
    if found := shutil.which(name):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/{name}"))


def runs(interpreter: Path, version: str) -> bool:
    """Whether this is a complete Python of that version."""
    try:
        answer = subprocess.run([interpreter, "-I", "-c", PROBE], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def choose() -> tuple[Release, Path]:
    """The newest release that can run here, and the interpreter for it. Raises LookupError if there is none."""
    for release in RELEASES:
        for version in release.pythons:
            for interpreter in interpreters(version):
                if runs(interpreter, version):
                    return release, interpreter
    wanted = ", ".join(version for release in RELEASES for version in release.pythons)
    raise LookupError(f"LocalStack needs one of these Python versions, and none of them runs here: {wanted}")


def install(directory: Path) -> Release:
    """Make the virtual environment anew. Raises LookupError, or CalledProcessError of what failed."""
    release, interpreter = choose()
    print(f"installing LocalStack {release.version} with {interpreter.name} into {directory}")
    subprocess.run([interpreter, "-m", "venv", "--clear", directory], check=True)
    python = directory / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "--requirement", release.lock], check=True)
    index_services(directory)
    return release


def catalog_directory(venv: Path) -> Path:
    """Where LocalStack finds the index of all services that `index_services` built, below its FILESYSTEM_ROOT."""
    return venv / "filesystem" / "usr" / "lib" / "localstack"


def index_services(directory: Path) -> None:
    """Build the index of all AWS services that a first start would otherwise build: it takes longer than a start."""
    catalog_directory(directory).mkdir(parents=True)
    subprocess.run(
        [directory / "bin" / "python", "-I", "-c", "from localstack.aws.spec import main; main()"],
        env={
            "OVERRIDE_IN_DOCKER": "0",
            "FILESYSTEM_ROOT": str(directory / "filesystem"),
            "CONFIG_DIR": str(directory / "filesystem"),
        },
        check=True,
    )


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]))
    except LookupError as error:
        sys.exit(str(error))
