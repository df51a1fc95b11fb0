"""A program run for its answer: an argument list, never a shell, with a deadline and a limit on what it may say.

Where it runs is a `Programs`: this machine here, another one in `ssh_program.py`.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Annotated, BinaryIO, Final, Protocol

import msgspec

from dr.core.step import target
from dr.targets.protocols import HostGroup, Opening, TargetUnreachable

MOST_OUTPUT: Final = 65_536
"""Bytes that are read of what a program says (safety rule 15)."""
MOST_WORDS: Final = 300


class Said(msgspec.Struct, frozen=True):
    """How a program ended, and what it said."""

    status: int
    out: str
    error: str

    def words(self) -> str:
        """What it complained about, on one line."""
        text = " ".join((self.error.strip() or self.out.strip()).split())
        return text[:MOST_WORDS] or f"status {self.status}"


class Programs(Protocol):
    """A machine on which programs can be run. Both calls raise TargetUnreachable: what was done by then is unknown."""

    def look(self, argv: Sequence[str], deadline: float) -> Said:
        """Run a program that changes nothing, to its end, by `deadline` (a time of `time.monotonic`)."""
        ...

    def change(self, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
        """Run one that may change something; `text` is its standard input."""
        ...

    def take_over(self, deadline: float) -> None:
        """Be the only one who changes anything: what was begun earlier has ended then, or will never begin."""
        ...

    def close(self) -> None: ...


class Local:
    """This machine. What is begun here ends with its deadline, and nothing arrives late."""

    def __init__(self, name: str) -> None:
        self._name = name

    def look(self, argv: Sequence[str], deadline: float) -> Said:
        return run(self._name, argv, deadline)

    def change(self, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
        return run(self._name, argv, deadline, text=text)

    def take_over(self, deadline: float) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def programs_on(host: str | None, opening: Opening, subject: str) -> Programs:
    """This machine, or the one of that target, an `ssh` with one host; what is changed there is the `subject`.

    Raises:
        TargetUnreachable: it is not one host, or its key cannot be read.
    """
    if host is None:
        return Local(opening.name)
    from dr.targets.transport.ssh_program import SshPrograms

    return SshPrograms(opening.name, opening.other(host), subject)


HostName = Annotated[str, target(HostGroup, may_be_down=True)]
"""The name of a target of type `ssh` with one host. Whether it is up is asked by what runs there."""


def run(name: str, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
    """Run the program to its end, by `deadline` (a time of `time.monotonic`); `text` is its standard input.

    Its output goes to files, not pipes: a server that it leaves running may keep them open, and a pipe would then be
    waited for until that server ends.

    Raises:
        TargetUnreachable: it cannot be started, or has not ended in time; then its process group is killed. What it had
            done by then is unknown.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        given.write(text.encode())
        given.seek(0)
        try:
            child = subprocess.Popen(argv, stdin=given, stdout=out, stderr=error, start_new_session=True)
        except OSError as wrong:
            raise TargetUnreachable(f"{name}: {argv[0]} cannot be run: {wrong.strerror}") from None
        try:
            status = child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TargetUnreachable(f"{name}: {_title(argv)} did not end in time") from None
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        return Said(status, _start_of(out), _start_of(error))


def _start_of(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(MOST_OUTPUT).decode("utf-8", "replace")


def _title(argv: Sequence[str]) -> str:
    """The command in a few words; its arguments may be long."""
    return " ".join(argv)[:MOST_WORDS]
