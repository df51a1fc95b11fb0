"""How steps and targets see playbooks: hosts on which they are run, and what their tasks say of a host.

As in `protocols.py`: a call raises `TargetUnreachable` when the thing could not be asked, and is harmless when
repeated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec

from dr.core.quorum import Standing

MOST_WORDS: Final = 300
"""Characters of what a task said."""

Playbook = Annotated[str, msgspec.Meta(pattern=r"^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]*\.ya?ml$", max_length=200)]
"""Its file in the folder of playbooks."""
Variables = dict[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)], Any]


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook, and how it is to be run."""

    playbook: str
    """Its file in the target's folder of playbooks."""
    variables: Mapping[str, object]
    limit: str = ""
    """A pattern of Ansible's that leaves out some hosts of the inventory."""
    tags: tuple[str, ...] = ()
    check: bool = False
    """Change nothing, predict what would change."""
    within: float = math.inf
    """Seconds after which it is ended, at the latest; the attempt's time is its limit, too."""


class TaskEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How one task of a playbook ended on one host."""

    host: str
    task: str
    outcome: Literal["ok", "changed", "failed", "unreachable", "skipped", "unpredicted"]
    """`unpredicted`: in check mode it cannot be told what the task would do."""
    said: str = ""


class PlayEnd(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    hosts: tuple[str, ...]
    """Those it was played on."""


TaskHeard = Callable[[TaskEnd | None], None]
"""Gets each task's end as it comes, and None several times a second."""


class PlaybookHosts(Protocol):
    """Hosts on which playbooks can be run."""

    def play(self, play: Play, heard: TaskHeard) -> PlayEnd:
        """Run a playbook to its end; whatever becomes of it or of dr, no process stays behind.

        What `heard` raises ends the playbook.

        Raises:
            LookupError: there is no such playbook, or it could not begin on any host.
        """
        ...


def predicted(tasks: Sequence[TaskEnd]) -> Standing:
    """What check mode says of a host, by its tasks."""
    outcomes = {task.outcome for task in tasks}
    if outcomes & {"failed", "unreachable", "unpredicted"}:
        return "unknown"
    return "not_in_place" if "changed" in outcomes else "in_place"


def checked(tasks: Sequence[TaskEnd]) -> Standing:
    """What a playbook that changes nothing, and fails where the effect is not there, says of a host, by its tasks."""
    outcomes = {task.outcome for task in tasks}
    if "unreachable" in outcomes:
        return "unknown"
    return "not_in_place" if "failed" in outcomes else "in_place"


def say_task(task: TaskEnd, *, host: bool = True) -> str:
    """How it ended, in words."""
    outcome = {"unpredicted": "check mode cannot predict it; name a playbook of checks in `check`"}
    words = [f"{task.task}: {outcome.get(task.outcome, task.outcome)}", task.said[:MOST_WORDS]]
    return (f"{task.host}: " if host else "") + ": ".join(word for word in words if word)
