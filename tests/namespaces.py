"""Processes that see another machine than the tests do."""

import os
import subprocess
from pathlib import Path

import pytest

RESOLVED_BY = (
    'mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf && '
    'shift && exec "$@"'
)


def own_mounts() -> list[str]:
    """The command that runs another one with mounts of its own. Root needs no namespace of users for that."""
    command = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounts of its own need root or user namespaces")
    return command


def resolved_by(address: str, folder: Path) -> list[str]:
    """The command that runs another one on a machine whose resolver is at that address, on port 53."""
    (folder / "resolv.conf").write_text(f"nameserver {address}\n", encoding="utf-8")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")
    return [*own_mounts(), "sh", "-c", RESOLVED_BY, "sh", str(folder)]
