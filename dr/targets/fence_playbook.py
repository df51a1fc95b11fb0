"""A playbook of Ansible that cuts a machine off from outside: its power, its port of the switch, its security group."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from dr.core.step import target
from dr.targets.playbooks import Play, Playbook, PlaybookHosts, TaskEnd, Variables, checked, predicted, say_task
from dr.targets.protocols import Opening, Refused, TargetConfig, TargetUnreachable

POLL: Final = 0.1


class FencePlaybook(TargetConfig, frozen=True, tag="fence-playbook", rename={"check_with": "check"}):
    """A playbook that cuts a machine off, and shows whether it is."""

    speaks: ClassVar[tuple[str, ...]] = ("FencingAgent",)

    hosts: Annotated[str, target(PlaybookHosts)]
    """A target of type `ansible`."""
    playbook: Playbook
    """Cuts it off; its file in that target's folder of playbooks. Harmless when it is run again."""
    limit: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    """Ansible's pattern for what it is played on, which has to be said: an inventory has other hosts, too."""
    check_with: Playbook | None = None
    """A playbook that changes nothing and fails while it is not cut off. Without it: it is cut off when check mode
    predicts that the first one would change nothing."""
    vars: Variables = msgspec.field(default_factory=dict)
    """Extra variables. Those that are secret belong to the target of type `ansible`."""


def open_target(config: FencePlaybook, opening: Opening) -> "Fence":
    """Nothing is run yet."""
    return Fence(config, opening.name, opening.other(config.hosts), opening.timeout)


class Fence:
    """A FencingAgent."""

    server = ""

    def __init__(self, config: FencePlaybook, name: str, hosts: Any, timeout: float) -> None:
        self._config = config
        self._name = name
        self._hosts = hosts
        self._deadline = time.monotonic() + timeout

    def ping(self) -> None:
        self._hosts.ping()

    def close(self) -> None:
        self._hosts.close()

    def keep_within(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def fenced(self) -> bool:
        """Raises LookupError: it is played on no host."""
        config = self._config
        hosts, tasks = self._play(config.check_with or config.playbook, check=config.check_with is None)
        judge = checked if config.check_with else predicted
        standings = {judge([task for task in tasks if task.host == host]) for host in hosts}
        if "unknown" in standings:
            raise TargetUnreachable(f"{self._name}: whether it is cut off cannot be told: {_complaint(tasks)}")
        return standings == {"in_place"}

    def fence(self) -> None:
        """The playbook may end before it has taken effect, as a power switch does; so that is waited for."""
        if self.fenced():
            return
        _, tasks = self._play(self._config.playbook)
        try:
            while not self.fenced():
                time.sleep(POLL)
        except TargetUnreachable as error:  # at the deadline at the latest
            raise Refused(f"{self._name}: it is not cut off: {_complaint(tasks)}; {error}") from None

    def _play(self, playbook: str, *, check: bool = False) -> tuple[Sequence[str], Sequence[TaskEnd]]:
        config, tasks = self._config, list[TaskEnd]()
        within = max(0.0, self._deadline - time.monotonic())
        play = Play(playbook=playbook, variables=config.vars, limit=config.limit, check=check, within=within)
        end = self._hosts.play(play, lambda task: tasks.append(task) if task else None)
        return end.hosts, tasks


def _complaint(tasks: Sequence[TaskEnd]) -> str:
    wrong = [task for task in tasks if task.outcome in {"failed", "unreachable", "unpredicted"}]
    return "; ".join(map(say_task, wrong)) or "the playbook said that it had done it"
