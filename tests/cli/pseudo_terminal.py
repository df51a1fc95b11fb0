"""A terminal for `dr`, as a person has one: keys go in, what is shown comes out, Ctrl-C is a key."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.cli.shell import PATIENCE, command, environment

CTRL_C = "\x03"


class Terminal:
    """The person's side of it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.shown = ""
        """Everything so far, with its control sequences."""
        self._master = master
        self._read_up_to = 0

    def see(self, text: str) -> None:
        """Wait until the text is shown, after what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.shown.find(text, self._read_up_to)) < 0:
            assert self._more(deadline), f"{text!r} was never shown:\n{self.shown}"
        self._read_up_to = found + len(text)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait until the process ends; its exit status."""
        while self._more(time.monotonic() + PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def cursor_is_visible(self) -> bool:
        return self.shown.rfind("\x1b[?25h") >= self.shown.rfind("\x1b[?25l")

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing is shown any more:\n{self.shown}"
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # Linux says EIO when the last process at the terminal has ended
            chunk = b""
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)


@contextlib.contextmanager
def at_terminal(folder: Path, *arguments: str, term: str = "xterm", more: Mapping[str, str] = {}) -> Iterator[Terminal]:
    """`dr` at a terminal of the usual size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        ["setsid", "--ctty", *command(*arguments)], cwd=folder, env=environment(folder, TERM=term, **more),
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
