"""Commands that cut a machine off from outside: its power, its port of the switch, its security group.

What fences a server that cannot be reached itself (STONITH, as clusters call it). Which hardware or cloud does it is
the business of the commands.
"""

import time
from typing import Annotated, ClassVar, Final

import msgspec

from dr.targets.protocols import Opening, Refused, TargetConfig, TargetUnreachable
from dr.targets.transport.program import HostName, Programs, Said, programs_on

CUT_OFF: Final = 0
NOT_CUT_OFF: Final = 1
POLL: Final = 0.1

Command = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=50)]


class FenceCommands(TargetConfig, frozen=True, tag="fence-commands"):
    """Commands that cut a machine off, and tell whether it is."""

    speaks: ClassVar[tuple[str, ...]] = ("FencingAgent",)

    cut_off: Command
    """Cuts it off. Harmless when repeated; its exit status is not relied on."""
    is_cut_off: Command
    """Ends with status 0 when it is cut off for certain, with 1 when it is not, and with any other when unknown."""
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where the commands are run, if that is another machine."""


def open_target(config: FenceCommands, opening: Opening) -> "Fence":
    """Nothing is run yet.

    Raises:
        TargetUnreachable: `ssh` is not one host, or its key cannot be read.
    """
    return Fence(config, opening, programs_on(config.ssh, opening, f"/fence/{opening.name}"))


class Fence:
    """A FencingAgent."""

    server = ""

    def __init__(self, config: FenceCommands, opening: Opening, programs: Programs) -> None:
        self._config = config
        self._name = opening.name
        self._programs = programs
        self._deadline = time.monotonic() + opening.timeout

    def ping(self) -> None:
        self.fenced()

    def close(self) -> None:
        self._programs.close()

    def keep_within(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def fenced(self) -> bool:
        said = self._programs.look(self._config.is_cut_off, self._deadline)
        if said.status not in {CUT_OFF, NOT_CUT_OFF}:
            raise TargetUnreachable(f"{self._name}: whether it is cut off cannot be told: {said.words()}")
        return said.status == CUT_OFF

    def fence(self) -> None:
        """The command may return before it has taken effect, as a power switch does; so that is waited for."""
        if self.fenced():
            return
        said = self._programs.change(self._config.cut_off, self._deadline)
        try:
            while not self.fenced():
                time.sleep(POLL)
        except TargetUnreachable as error:  # at the deadline at the latest
            raise Refused(f"{self._name}: it is not cut off: {_complaint(said)}; {error}") from None


def _complaint(said: Said) -> str:
    return said.words() if said.status else "the command said that it had done it"
