"""`ssh.command`: a command on a group of hosts, seen by a check and undone by a third command.

The check is what knows: the end of the command proves nothing, and after a crash nobody waits for it any more. A
command goes on when the connection to its host is lost; so it carries the name of its run and step as long as it runs,
and is neither begun a second time nor judged by the check before it has ended.
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.quorum import Quorum, check_quorum, needed, ours, stood
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, OutOfTime, Reversal, Step, Unknown, target
from dr.targets.protocols import HostAnswer, HostGroup

IN_PLACE, NOT_IN_PLACE = 0, 1
"""Exit statuses of a check; any other says that it could not tell."""
STILL_RUNNING: Final = 75
CANNOT_SEE: Final = 76
MOST_TOLD = 20
"""Hosts whose words go into the evidence; all of them are named (safety rule 15)."""
MOST_WORDS = 300

# `$1$2` is the name of the step's commands; in two parts, so that the guard does not see itself. `ps` is of POSIX.
_GUARD: Final = """\
name=$1$2; attempt=$3; shift 3
running=$(ps -A -o args=) || exit 76
case $running in *"$name"*) exit 75;; esac
"""
LOOK: Final = _GUARD + 'exec "$@"'
# The inner shell stays, with the name in its arguments, until the command has ended. A daemon it starts has no name.
ACT: Final = _GUARD + """exec sh -c '"$@"; exit $?' "$name$attempt" "$@\""""

Command = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^[^\x00]*$")], ...],
    msgspec.Meta(min_length=1, max_length=200),
]


class SshCommand(
    Step,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"check_with": "check", "apply_with": "apply", "undo_with": "undo"},
):
    """Run a command on each host of a group where a check says that it is needed.

    Each command is a list of words, read by no shell again: for a pipe write `["sh", "-c", "..."]`. It must do no harm
    when it is run again. Where the check finds the effect in place before the first attempt, nothing is done or undone.
    """

    kind: ClassVar[str] = "ssh.command"
    reversal: ClassVar[Reversal] = "undo"

    hosts: Annotated[str, target(HostGroup)]
    check_with: Command
    """Changes nothing and ends with status 0 where the effect is in place, 1 where not; any other means unknown."""
    apply_with: Command
    undo_with: Command | None = None
    """Without it the step is a point of no return."""
    quorum: Quorum = "all"
    """On how many hosts it must be in place: `all`, or `2 of 3`, where 3 is the size of the group."""
    at_once: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    """Hosts on which it runs at the same time; no further one begins when the quorum is lost."""

    def __post_init__(self) -> None:
        check_quorum(self.quorum)

    def summary(self) -> str:
        where = "all of" if self.quorum == "all" else self.quorum + " of"
        return f"Run {_said(shlex.join(self.apply_with), 100)} on {where} {self.hosts}, {self.at_once} at once"

    def reverses(self) -> Reversal:
        return "undo" if self.undo_with is not None else "impossible"

    def preview(self, here: Here) -> Evidence:
        """Which hosts it would be run on."""
        return self._look(here).evidence()

    def observe(self, here: Here) -> Observation:
        seen = self._look(here)
        enough = self._needed(here)
        if len(seen.in_place) >= enough:
            return InPlace(seen.evidence())
        # A command that still runs would be begun again by the next attempt: then nothing is settled.
        if seen.not_in_place and not seen.running:
            return NotInPlace({**seen.evidence(), "findings": [seen.words(enough)]})
        return Unknown(seen.words(enough))

    def apply(self, here: Here) -> Evidence:
        """Only where it is not in place yet, and only if that can make the quorum.

        Raises:
            CommandFailed: it cannot, and nothing was touched; or too few hosts say that it went well.
        """
        seen = self._look(here)
        enough = self._needed(here)
        spare = len(seen.in_place) + len(seen.not_in_place) - enough
        if spare < 0:
            raise CommandFailed(f"nothing was touched, the quorum is out of reach: {seen.words(enough)}")
        answers = self._act(here, self.apply_with, seen.not_in_place, spare)
        return self._claim(answers, len(seen.not_in_place), spare)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """On every host on which it was not in place before, also where it may have been applied only in part."""
        assert self.undo_with is not None
        hosts = ours(before)
        return self._claim(self._act(here, self.undo_with, hosts, len(hosts)), len(hosts), 0)

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        seen = self._look(here)
        mine = set(ours(before))
        left = [host for host in seen.in_place if host in mine]
        # Where it could not be seen before, and now it is in place, nobody can tell whose work that is.
        unclear = [host for host in seen.in_place if host not in mine and host not in stood(before, "in_place")]
        unseen = [host for host in seen.unknown if host in mine]
        if left:
            return NotInPlace({**seen.evidence(), "findings": [f"still in place on {_list(left)}"]})
        if unseen:
            return Unknown(f"{_list(unseen)}: {seen.why(unseen[0])}")
        if unclear:
            return Unknown(f"in place on {_list(unclear)}, which could not be looked at before")
        return InPlace(seen.evidence())

    def _needed(self, here: Here) -> int:
        return needed(self.quorum, len(here.reach(HostGroup, self.hosts).hosts), self.hosts)

    def _look(self, here: Here) -> "_Seen":
        """Run the check everywhere."""
        group = here.reach(HostGroup, self.hosts)
        argv = _named(here, LOOK, self.check_with)
        answers = group.run(argv, group.hosts, at_once=self.at_once, go_on=lambda _: _may_go_on(here))
        found = {answer.host: answer for answer in answers}
        late = (HostAnswer(host=host, status=None, said="its turn never came") for host in group.hosts)
        return _Seen(tuple(found.get(answer.host, answer) for answer in late))

    def _act(self, here: Here, command: Command, hosts: Sequence[str], spare: int) -> tuple[HostAnswer, ...]:
        """Run a changing command; once more than `spare` hosts have failed, no further one begins."""
        told = 0

        def go_on(answers: Sequence[HostAnswer]) -> bool:
            nonlocal told
            if len(answers) > told:
                told = len(answers)
                here.say(f"{told} of {len(hosts)} hosts have ended")
            return _may_go_on(here) and sum(answer.status != 0 for answer in answers) <= spare

        group = here.reach(HostGroup, self.hosts)
        return group.run(_named(here, ACT, command), hosts, at_once=self.at_once, go_on=go_on)

    def _claim(self, answers: Sequence[HostAnswer], meant: int, spare: int) -> Evidence:
        failed = [answer for answer in answers if answer.status != 0]
        begun = f"begun on {len(answers)} of {meant} hosts"
        if len(failed) > spare:
            raise CommandFailed(f"{begun}, {len(failed)} failed: " + "; ".join(map(_words, failed[:3])))
        return {"ran": begun, "said": {answer.host: _words(answer, name=False) for answer in answers[:MOST_TOLD]}}


class CommandFailed(Exception):
    """More hosts failed than the quorum allows. Says nothing about what stands there."""


class _Seen(msgspec.Struct, frozen=True):
    """What the check said on each host."""

    answers: tuple[HostAnswer, ...]

    @property
    def in_place(self) -> tuple[str, ...]:
        return tuple(answer.host for answer in self.answers if answer.status == IN_PLACE)

    @property
    def not_in_place(self) -> tuple[str, ...]:
        return tuple(answer.host for answer in self.answers if answer.status == NOT_IN_PLACE)

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(answer.host for answer in self.answers if answer.status not in {IN_PLACE, NOT_IN_PLACE})

    @property
    def running(self) -> bool:
        return any(answer.status == STILL_RUNNING for answer in self.answers)

    def why(self, host: str) -> str:
        return next(_words(answer, name=False) for answer in self.answers if answer.host == host)

    def words(self, needed: int) -> str:
        others = [_words(answer) for answer in self.answers if answer.status != IN_PLACE]
        more = f"; and {len(others) - MOST_TOLD} more" if len(others) > MOST_TOLD else ""
        count = f"in place on {len(self.in_place)} of {len(self.answers)} hosts, needed are {needed}"
        return "; ".join([count, *others[:MOST_TOLD]]) + more

    def evidence(self) -> Evidence:
        """First told is what is not as it should be."""
        told = sorted(self.answers, key=lambda answer: answer.status == IN_PLACE)[:MOST_TOLD]
        return {
            "in_place": list(self.in_place),
            "not_in_place": list(self.not_in_place),
            "unknown": list(self.unknown),
            "said": {answer.host: _words(answer, name=False) for answer in told},
        }


def _named(here: Here, script: str, command: Sequence[str]) -> tuple[str, ...]:
    """The command under the script, told what the step's commands are called."""
    return ("sh", "-c", script, "dr", f"dr:{here.run}", f":{here.step}:", str(here.attempt), *command)


def _may_go_on(here: Here) -> bool:
    """Whether there is time left. Raises StopRequested."""
    try:
        here.sleep(0)
    except OutOfTime:  # the answers so far are worth more
        return False
    return True


def _words(answer: HostAnswer, *, name: bool = True) -> str:
    match answer.status:
        case None:
            how = ""
        case _ if answer.status == STILL_RUNNING:
            how = "a command of this step is still running"
        case _ if answer.status == CANNOT_SEE:
            how = "whether a command of this step still runs cannot be seen (`ps -A -o args=` fails)"
        case status:
            how = f"status {status}"
    said = _said(answer.said, MOST_WORDS)
    return (f"{answer.host}: " if name else "") + ": ".join(part for part in (how, said) if part)


def _said(text: str, most: int) -> str:
    """The end of a text, on one line, without what would move a terminal's cursor."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else "..." + line[-most:]


def _list(hosts: Iterable[str]) -> str:
    names = list(hosts)
    return ", ".join(names[:MOST_TOLD]) + (f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else "")
