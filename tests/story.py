"""Stories: readable transcripts of what an operator types and sees, told again by the real command line.

A story is a text file:

    # Prose, for the reader.

    $ dr run tidy-up.yaml --env shop --yes
    what it printed, standard output and standard error as they came
    [exit 5]

    -- tidy-up.yaml --
    the files of the story's folder, at its end

A command is given to `sh`. `RUN` stands for the name of the story's first run, `RUN2` for the second. What differs from
one telling to the next (times, digests, processes, hosts, folders) is shown by a placeholder.

A process can be met while it works: a command that ends in `&` is watched until it says what stands in the line
`(until "...")` under it; then `$ kill -INT %1`, `$ kill -9 %1` and `$ fg` go on with it. `(somebody locks FILE)` makes
it stand still in the middle of an edit of that file, for as long as it takes, and `(FILE is free again)` ends that.
"""

import fcntl
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from tests.cli.shell import PATIENCE, environment, write

_RUN = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[a-z0-9-]+-[0-9a-f]{6}")
_UNTIL = re.compile(r'\(until "(.+)"\)')
_LOCK = re.compile(r"\(somebody locks (\S+)\)")
_UNLOCK = re.compile(r"\((\S+) is free again\)")
_PLACEHOLDERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d\b"), "HH:MM:SS.s"),
    (re.compile(r"\+ *\d+\.\ds"), "+   0.0s"),
    (re.compile(r"(recovery time: )[\d.]+ m?s\b"), r"\1SECONDS s"),
    (re.compile(r"(?<=rounds: )\d+"), "N"),
    (re.compile(r"\bpid \d+\b"), "pid PID"),
    (re.compile(r"\b[0-9a-f]{64}\b|(?<=plan )[0-9a-f]{12}\b|(?<=head )[0-9a-f]{16}\b"), "DIGEST"),
)


class Told(msgspec.Struct):
    """A line the operator types, and what is seen then."""

    line: str
    until: str = ""


class Story:
    """A parsed story: its lines in order, and the files it needs."""

    def __init__(self, text: str) -> None:
        script, *files = re.split(r"^-- (\S+) --\n", text, flags=re.MULTILINE)
        self.files = dict(zip(files[::2], files[1::2], strict=True))
        self.steps: list[Told] = []
        """Prose, stage directions and commands; what was printed is left out, it is told anew."""
        silent = True
        for line in script.splitlines():
            until = _UNTIL.fullmatch(line)
            if until and not silent:
                self.steps[-1].until = until[1]
            elif line.startswith(("# ", "$ ")) or _LOCK.fullmatch(line) or _UNLOCK.fullmatch(line) or line == "#":
                self.steps.append(Told(line))
                silent = not line.startswith("$ ")

    def retold(self, folder: Path) -> str:
        """Play the story in `folder`; its text as it should stand in the file."""
        write(folder, {**self.files, ".bin/dr": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dr "$@"\n'})
        (folder / ".bin/dr").chmod(0o755)
        with Stage(folder) as stage:
            blocks = [stage.perform(told) for told in self.steps]
        script = "\n".join(f"{block.rstrip()}\n" for block in blocks)
        script = re.sub(r"(?m)^(#.*)\n\n(?=#)", r"\1\n", script)
        return script + "".join(f"\n-- {name} --\n{text.rstrip()}\n" for name, text in self.files.items())


class Stage:
    """Where a story is played: its folder, the process that works in the background, the locks that are held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._locks: dict[str, int] = {}
        self._runs: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._locks.values():
            os.close(opened)
        if self._process is not None:
            _end(self._process)

    def perform(self, told: Told) -> str:
        """Do it; the block of the transcript that tells of it."""
        if lock := _LOCK.fullmatch(told.line):
            self._locks[lock[1]] = os.open(self._folder / lock[1], os.O_RDONLY)
            fcntl.flock(self._locks[lock[1]], fcntl.LOCK_EX)
        elif free := _UNLOCK.fullmatch(told.line):
            os.close(self._locks.pop(free[1]))
        elif told.line.startswith("$ "):
            seen = self._placeholders(self._typed(self._named(told.line[2:]), told.until))
            until = f'(until "{told.until}")\n' if told.until else ""
            return f"{told.line}\n{until}{seen}"
        return f"{told.line}\n"

    def _typed(self, line: str, until: str) -> str:
        """Do what is typed; what is seen."""
        if line.endswith("&"):
            self._process = self._start(f"exec {line.rstrip('& ')}")
            return self._watch(until)
        if line.startswith("kill "):
            assert self._process is not None
            self._process.send_signal(signal.SIGKILL if "-9" in line else signal.SIGINT)
            return self._watch(until)
        if line == "fg":
            return self._watch(until)
        before, self._process = self._process, self._start(line)
        try:
            return self._watch("")
        finally:
            _end(self._process)
            self._process = before

    def _start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", line], cwd=self._folder, env=environment(self._folder), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _watch(self, until: str) -> str:
        """What the process says: up to the line with `until` in it, or all of it and how it ended."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        seen = b""
        for chunk in self._chunks(process.stdout.fileno()):
            seen += chunk
            found = seen.find(until.encode()) if until else -1
            end = seen.find(b"\n", found) if found >= 0 else -1
            if end >= 0:
                self._unread = seen[end + 1 :]
                return seen[: end + 1].decode()
        assert not until, f"it ended before it said {until!r}:\n{seen.decode()}"
        status = process.wait(PATIENCE)
        _end(process)
        ended = {0: "", -signal.SIGKILL: "[killed]\n"}.get(status, f"[exit {status}]\n")
        return seen.decode() + ended

    def _chunks(self, pipe: int) -> Iterator[bytes]:
        chunk, self._unread = self._unread, b""
        deadline = time.monotonic() + PATIENCE
        yield chunk
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing is said any more; last seen: {chunk.decode()}"
            chunk = os.read(pipe, 65536)
            if not chunk:
                return
            yield chunk

    def _named(self, line: str) -> str:
        """The line with the names of the runs put in."""
        for number in range(len(self._runs), 0, -1):
            line = re.sub(rf"\b{_placeholder(number)}\b", self._runs[number - 1], line)
        return line

    def _placeholders(self, text: str) -> str:
        for name in _RUN.findall(text):
            if name not in self._runs:
                self._runs.append(name)
        for number, name in enumerate(self._runs, 1):
            text = text.replace(name, _placeholder(number))
        text = text.replace(str(self._folder), "FOLDER").replace(socket.gethostname(), "HOST")
        for pattern, placeholder in _PLACEHOLDERS:
            text = pattern.sub(placeholder, text)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the process behind."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _placeholder(number: int) -> str:
    return "RUN" if number == 1 else f"RUN{number}"
