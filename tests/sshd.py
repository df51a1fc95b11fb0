"""Real hosts to reach over SSH: each an sshd of its own on a loopback address, with keys of its own.

They share this machine's files; what makes them different hosts is the folder named by `$HOST_DIR`, which is also
their home, so that nobody's shell profile is read.
"""

import getpass
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dr.demo import process_tree, wait
from dr.demo.postgres import free_port
from dr.demo.workspace import Workspace
from dr.targets.ssh import SshGroup

BINARY = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
# Processes of its own, as a host has them: they are seen by nobody else's `ps`, and end with their host.
NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# A root's sshd insists on /run/sshd; it gets one that nobody else sees.
AS_ROOT = ("sh", "-c", 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"', "sh")
AS_USER = ("--user", "--map-current-user")

CONFIG = """\
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {keys}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile none
SetEnv HOST_DIR={folder} HOME={folder}
MaxStartups 200
AllowTcpForwarding yes
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Host:
    """A running sshd."""

    address: str
    folder: Path
    process: psutil.Process

    def kill(self) -> None:
        """The host is gone, and all that ran below its sshd."""
        process_tree.kill(self.process)

    def freeze(self) -> None:
        """The host hangs: connections are still accepted by the kernel, nothing answers."""
        process_tree.freeze(self.process)

    def known(self) -> str:
        """Its line in a file of known hosts."""
        host, port = self.address.split(":")
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"[{host}]:{port} {kind} {key}\n"


@dataclass(frozen=True)
class Fleet:
    """Running hosts, and what logs in to them."""

    hosts: Sequence[Host]
    key: Path
    known_hosts: Path

    def group(self, **more: Any) -> SshGroup:
        """The target. A keyword replaces a field."""
        fields: dict[str, Any] = {
            "hosts": tuple(host.address for host in self.hosts),
            "user": getpass.getuser(),
            "known_hosts": str(self.known_hosts),
            "key": str(self.key),
        }
        return SshGroup(**{**fields, **more})

    def have(self, name: str) -> list[bool]:
        """Which hosts have a file of that name in their folder."""
        return [(host.folder / name).exists() for host in self.hosts]


def keygen(path: Path, passphrase: str = "") -> None:
    """Make a key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)


@contextmanager
def fleet(count: int) -> Iterator[Fleet]:
    """So many hosts; the test is skipped where there is no sshd."""
    if BINARY is None:
        pytest.skip("sshd is not installed (Debian: apt-get install openssh-server)")
    if os.geteuid() != 0 and subprocess.run([*NAMESPACE, *AS_USER, "true"], check=False).returncode:
        pytest.skip("user namespaces are forbidden here: hosts with processes of their own cannot be made")
    with Workspace() as workspace:
        workspace.directory.chmod(0o755)
        keygen(workspace.directory / "key")
        hosts = [_start(workspace, number, BINARY) for number in range(1, count + 1)]
        known_hosts = workspace.directory / "known_hosts"
        known_hosts.write_text("".join(host.known() for host in hosts))
        for host in hosts:
            wait.until(partial(_listens, host.address), 30, f"sshd listens on {host.address}")
        yield Fleet(hosts, workspace.directory / "key", known_hosts)


def _start(workspace: Workspace, number: int, binary: str) -> Host:
    folder = workspace.directory / f"host{number}"
    folder.mkdir()
    keygen(folder / "host_key")
    address = f"127.0.1.{number}:{free_port()}"
    config = folder / "sshd_config"
    config.write_text(CONFIG.format(address=address, folder=folder, keys=workspace.directory / "key.pub"))
    prefix = (*NAMESPACE, *(AS_ROOT if os.geteuid() == 0 else AS_USER))
    child = workspace.spawn([*prefix, binary, "-D", "-e", "-f", config], f"sshd{number}.log")
    return Host(address, folder, psutil.Process(child.pid))


def _listens(address: str) -> bool:
    host, port = address.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as probe:
        return probe.recv(4) == b"SSH-"
    return False


def sh(text: str, *arguments: str) -> tuple[str, ...]:
    """A command that a shell on the host reads."""
    return ("sh", "-c", text, "sh", *arguments)


def touches(name: str) -> dict[str, Any]:
    """Parameters of an `ssh.command` that makes a file in the host's folder."""
    path = f'"$HOST_DIR/"{shlex.quote(name)}'
    return {
        "check_with": sh(f"test -e {path}"),
        "apply_with": sh(f"echo made >> {path}; echo made"),
        "undo_with": sh(f"rm -f {path}"),
    }


@contextmanager
def agent(folder: Path, key: Path) -> Iterator[Path]:
    """An SSH agent that holds the key; where it listens."""
    sock = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        wait.until(sock.exists, 30, "the agent listens")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(sock)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True, capture_output=True)
        yield sock
    finally:
        process.terminate()
        process.wait()
        sock.unlink(missing_ok=True)
