"""A group of hosts, reached over SSH.

paramiko is loaded when the first one is opened. It was chosen over the `ssh` program, which costs a process per host
and command and tells "not reached" (status 255) from "the command ended with 255" in no way.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from dr.core.duration import Duration, duration
from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import LocalPath, Opening, TargetConfig

if TYPE_CHECKING:
    from dr.targets.transport.ssh_hosts import Hosts

Address = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$",
        max_length=100,
        description="HOST, HOST:PORT or [IPV6]:PORT",
    ),
]
User = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class SshGroup(TargetConfig, frozen=True, tag="ssh"):
    """Hosts that take the same commands over SSH."""

    speaks: ClassVar[tuple[str, ...]] = ("HostGroup",)

    hosts: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=200)]
    """The hosts, in the order in which a command begins on them."""
    user: User
    """Who logs in."""
    known_hosts: LocalPath
    """Where the hosts' keys are, in the format of OpenSSH. A host that is not in it is refused, and never added."""
    key: LocalPath | None = None
    """Private key; without one the keys of the SSH agent are tried."""
    passphrase: SecretRef | None = None
    """Of the private key."""
    jump: Address | None = None
    """Host through which the others are reached; it takes the same key, and its own is in `known_hosts`, too."""
    jump_user: User | None = None
    """Who logs in to the jump host; left out, the same as `user`."""
    keepalive: Duration = duration("15s")
    """How often a silent connection is given a sign of life; `0s` for never."""
    may_be_down: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Hosts that may be out of reach before the first step; with more, a run is refused."""

    def __post_init__(self) -> None:
        check_reference("passphrase", self.passphrase)
        if len(set(self.hosts)) < len(self.hosts):
            raise ValueError("hosts: one is there twice")


def open_target(config: SshGroup, opening: Opening) -> "Hosts":
    """The hosts. Nothing is connected yet.

    Raises:
        TargetUnreachable: the key or the file of known hosts cannot be read.
    """
    from dr.targets.transport import ssh_hosts, ssh_login

    passphrase = opening.secret(config.passphrase) if config.passphrase is not None else None
    login = ssh_login.Login(
        name=opening.name,
        user=config.user,
        known=ssh_login.known_hosts(opening.name, config.known_hosts),
        key=ssh_login.private_key(opening.name, config.key, passphrase) if config.key is not None else None,
        keepalive=round(config.keepalive),
    )
    jump = ssh_hosts.Jump(config.jump, config.jump_user or config.user) if config.jump is not None else None
    return ssh_hosts.Hosts(config.hosts, login, opening.timeout, jump=jump, may_be_down=config.may_be_down)
