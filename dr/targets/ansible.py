"""Hosts in an inventory of Ansible, and the folder of playbooks that can be run on them.

ansible-runner is loaded by a process of its own (`dr.targets.transport.ansible_supervisor`), never by `dr`.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.errors import PartMissing
from dr.targets.playbooks import Play, PlayEnd, TaskEnd, TaskHeard
from dr.targets.protocols import LocalPath, Opening, TargetConfig, TargetUnreachable

VariableName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class AnsibleHosts(TargetConfig, frozen=True, tag="ansible"):
    """The hosts of an inventory, reached by Ansible."""

    speaks: ClassVar[tuple[str, ...]] = ("PlaybookHosts",)

    inventory: LocalPath
    """Ansible's inventory, a file or a folder."""
    playbooks: LocalPath
    """The folder of the playbooks that steps name."""
    user: str = ""
    """Who logs in; left empty, the inventory says it."""
    key: LocalPath | None = None
    """Private key; without one the keys of the SSH agent are tried."""
    known_hosts: LocalPath | None = None
    """Where the hosts' keys are; without it, where OpenSSH looks. A host that is not in it is refused, never added."""
    vault_password: SecretRef | None = None
    """Opens what is encrypted with ansible-vault."""
    secrets: dict[VariableName, SecretRef] = msgspec.field(default_factory=dict)
    """Extra variables that are secret. They reach Ansible by a file, not by its command line."""

    def __post_init__(self) -> None:
        check_reference("vault_password", self.vault_password)
        for name, reference in self.secrets.items():
            check_reference(f"secrets.{name}", reference)


def open_target(config: AnsibleHosts, opening: Opening) -> "Hosts":
    """The target. Nothing is started yet."""
    return Hosts(config, opening)


class Hosts:
    """PlaybookHosts."""

    def __init__(self, config: AnsibleHosts, opening: Opening) -> None:
        self._config = config
        self._opening = opening
        self._deadline = time.monotonic() + opening.timeout

    def ping(self) -> None:
        """Ansible, the inventory and the playbooks are there. A host is not asked: that takes Ansible seconds.

        Raises:
            TargetUnreachable: the inventory or the folder is not there.
            PartMissing: Ansible is not installed.
        """
        from dr.targets.transport.ansible_play import search_path

        if shutil.which("ansible-playbook", path=search_path()) is None:
            raise PartMissing(
                "ansible-playbook is not installed",
                stands="nothing was touched",
                hint="pip install 'dr-runbooks[ansible]'",
            )
        for place in (self._config.inventory, self._config.playbooks):
            if not Path(place).exists():
                raise TargetUnreachable(f"{self._opening.name}: there is no {place}")

    def close(self) -> None:
        pass

    def play(self, play: Play, heard: TaskHeard) -> PlayEnd:
        from dr.targets.transport.ansible_play import play as run
        from dr.targets.transport.ansible_supervisor import Order, Task

        self.ping()
        config = self._config
        path = Path(config.playbooks, play.playbook)
        if not path.is_file():
            raise LookupError(f"there is no playbook {path}")
        order = Order(
            playbook=str(path), folder=config.playbooks, inventory=config.inventory, check=play.check,
            variables={**play.variables, **self._secrets()}, limit=play.limit, tags=play.tags, user=config.user,
            key=config.key or "", known_hosts=config.known_hosts or "",
            vault_password=self._opening.secret(config.vault_password) if config.vault_password else "",
        )  # fmt: skip

        def pass_on(task: Task | None) -> None:
            heard(TaskEnd(**msgspec.structs.asdict(task)) if task is not None else None)

        name, deadline = self._opening.name, min(self._deadline, time.monotonic() + play.within)
        end = run(name, self._opening.label, order, deadline, pass_on)
        if not end.hosts:
            raise LookupError(f"{play.playbook} was played on no host: {_one_line(end.said)}")
        return PlayEnd(status=end.status, hosts=end.hosts)

    def _secrets(self) -> Mapping[str, str]:
        return {name: self._opening.secret(reference) for name, reference in self._config.secrets.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "Ansible said nothing"
