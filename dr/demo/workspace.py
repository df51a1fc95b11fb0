"""A temporary directory whose processes and files never outlive the process that made it.

Ending by `finally` alone is not enough: a SIGKILL or a closed terminal leaves servers running and a directory behind.
PR_SET_PDEATHSIG was rejected: it fires when the *thread* that forked ends, it is lost when a user namespace is entered,
PostgreSQL's own children do not get it, and it removes no files. So a second process, the sweeper, holds the reading
end of a pipe. The pipe closes when the owner closes it or dies, whatever it dies of, and then the sweeper ends every
process and removes the directory. Ordinary ends take the same way, so the rare one is tried every time.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# A child reports its process id to the sweeper itself, before it becomes the program: there is no moment at which it
# runs unknown. Its standard input is the pipe until then; a program that kept it would hold the pipe open.
REPORT_THEN_EXEC = 'echo $$ >&0 && exec "$@" </dev/null'


class CommandFailed(Exception):
    """A program of the workspace ended with an error; the message ends with the last lines of its log."""


class Workspace:
    """A directory and its processes; `with Workspace() as workspace:`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dr-demo-"))
        reading, self._pipe = os.pipe()
        self._sweeper = subprocess.Popen(
            [sys.executable, "-m", "dr.demo.sweeper", self.directory],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C on the terminal is for the owner only
        )
        os.close(reading)
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def spawn(
        self,
        argv: Sequence[str | Path],
        log: str,
        *,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, its output appended to the file `log` in the directory.

        Args:
            argv: the program and its arguments.
            log: the file's name.
            env: variables that it gets beside those of `ambient()`.
            pass_fds: descriptors that stay open in it.
        """
        with (self.directory / log).open("ab") as output:
            child = subprocess.Popen(
                ["sh", "-c", REPORT_THEN_EXEC, "sh", *argv],
                stdin=self._pipe,
                stdout=output,
                stderr=output,
                env={**ambient(), **(env or {})},
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def run(self, argv: Sequence[str | Path], log: str) -> None:
        """Start a program and wait for its end. Raises CommandFailed if that is not a success."""
        status = self.spawn(argv, log).wait()
        if status:
            raise CommandFailed(f"{Path(argv[0]).name} ended with status {status}\n{self.tail(log)}")

    def tail(self, log: str, lines: int = 10) -> str:
        """The last lines of a program's output."""
        return "\n".join((self.directory / log).read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End every process and remove the directory. Raises CommandFailed if the sweeper could not."""
        if self._pipe < 0:
            return
        os.close(self._pipe)
        self._pipe = -1
        status = self._sweeper.wait()
        for child in self._children:
            child.wait()
        if status:
            raise CommandFailed(f"the sweeper ended with status {status}; look at {self.directory}")


def ambient() -> dict[str, str]:
    """The present environment, without what would make PostgreSQL's programs or `dr` turn to the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DR_"))}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
