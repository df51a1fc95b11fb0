"""A program run for its answer: an argument list, never a shell, with a deadline and a limit on what it may say."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import BinaryIO, Final

import msgspec

from dr.targets.protocols import TargetUnreachable

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
