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
from dr.targets.transport.deadline import within

MOST_OUTPUT: Final = 65_536
"""Bytes that are read of what a program says (safety rule 15)."""
MOST_WORDS: Final = 300


class Said(msgspec.Struct, frozen=True):
    """How a program ended, and what it said."""

    status: int
    out: str
    error: str

    def crash(self) -> str:
        """The signal that ended it, by its name; empty when it ended by itself. 128 is added where a shell says it."""
        number = -self.status if self.status < 0 else self.status - 128
        return next((known.name for known in signal.Signals if known == number), "")

    def words(self) -> str:
        """What it complained about, on one line. What is too long is cut in its middle: why it ended comes last."""
        text = " ".join((self.error.strip() or self.out.strip()).split())
        if len(text) > MOST_WORDS:
            text = f"{text[: MOST_WORDS // 3]} … {text[-MOST_WORDS * 2 // 3 :]}"
        if crash := self.crash():
            return f"{text}; ended by {crash}".removeprefix("; ")
        return text or f"status {self.status}"


class Ends:
    """The beginning and the end of what may be long: how far a program came, and why it ended."""

    def __init__(self, most: int) -> None:
        """Keeps that many bytes."""
        self._half = most // 2
        self._head = self._tail = b""
        self._cut = False

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        tail = self._tail + data[room:]
        self._cut = self._cut or len(tail) > self._half
        self._tail = tail[-self._half :]

    def text(self) -> str:
        return (self._head + b"..." * self._cut + self._tail).decode("utf-8", "replace").strip()


class Begun(Protocol):
    """A program that waits for its standard input."""

    def finish(self, deadline: float, text: str = "") -> Said:
        """Give it `text`, and wait for its end until `deadline`. Raises TargetUnreachable: it has not ended in time."""
        ...

    def close(self) -> None:
        """Let it end without having done anything; harmless when it has ended."""
        ...


class Programs(Protocol):
    """A machine on which programs can be run. Both calls raise TargetUnreachable: what was done by then is unknown."""

    def look(self, argv: Sequence[str], deadline: float) -> Said:
        """Run a program that changes nothing, to its end, by `deadline` (a time of `time.monotonic`)."""
        ...

    def change(self, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
        """Run one that may change something; `text` is its standard input."""
        ...

    def begin(self, argv: Sequence[str]) -> Begun:
        """Start one that may change something, and does nothing before it has read its standard input."""
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

    def begin(self, argv: Sequence[str]) -> Begun:
        return Started(self._name, argv)

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


class Started:
    """A program that has been started, and reads its standard input before it does anything.

    Its output goes to files, not pipes: a server that it leaves running may keep them open, and a pipe would then be
    waited for until that server ends.

    Raises:
        TargetUnreachable: it cannot be started.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self._name = name
        self._argv = argv
        self._out, self._error = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        try:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=self._out, stderr=self._error, start_new_session=True
            )
        except OSError as wrong:
            self._forget()
            raise TargetUnreachable(f"{name}: {argv[0]} cannot be run: {wrong.strerror}") from None

    def finish(self, deadline: float, text: str = "") -> Said:
        """Give it `text`, and wait for its end until `deadline` (a time of `time.monotonic`).

        Raises:
            TargetUnreachable: it has not ended in time; then its process group is killed. What it had done by then is
                unknown.
        """
        assert self._child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError), self._child.stdin as given:  # it ended without reading
                given.write(text.encode())
            # In a thread, because a wait with a limit of its own would look only every 50 ms, and clients are waiting.
            status = within(max(0.0, deadline - time.monotonic()), self._child.wait, discard=lambda _: None)
            return Said(status, _start_of(self._out), _ends_of(self._error))
        except TimeoutError:
            raise TargetUnreachable(f"{self._name}: {_title(self._argv)} did not end in time") from None
        finally:
            self.close()

    def close(self) -> None:
        """Kill what is left of it. Harmless when it has ended."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        self._forget()

    def _forget(self) -> None:
        self._out.close()
        self._error.close()


def run(name: str, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
    """Run the program to its end, by `deadline`; `text` is its standard input. Raises as Started and `finish` do."""
    return Started(name, argv).finish(deadline, text)


def _start_of(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(MOST_OUTPUT).decode("utf-8", "replace")


def _ends_of(file: BinaryIO) -> str:
    ends = Ends(MOST_OUTPUT)
    file.seek(0)
    while data := file.read(MOST_OUTPUT):
        ends.add(data)
    return ends.text()


def _title(argv: Sequence[str]) -> str:
    """The command in a few words; its arguments may be long."""
    return " ".join(argv)[:MOST_WORDS]
