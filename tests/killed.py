"""`dr` killed with SIGKILL before every single touch of the disk and in the middle of every write, and resumed.

Run as a program, this is a process that has loaded `dr` once and forks for each `dr run` and `dr resume`: hundreds of
real processes in seconds. In the one to be killed, the calls by which `dr` touches the disk are counted, and one of
them kills the process instead. (After one is before the next.)
"""

import functools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

# Loaded once, for all the processes to come.
import dr.bind
import dr.cli.reading
import dr.cli.running  # noqa: F401
from dr.cli.main import main as cli
from dr.errors import NoSuchRun

TOUCHES: Final = ("write", "fsync", "fdatasync", "rename", "mkdir", "unlink", "ftruncate")


class Kill(msgspec.Struct, frozen=True):
    """The process dies at its `at`-th touch of the disk, counted from 0: before it, or when half of it is written."""

    at: int
    when: Literal["before", "amid"]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What stood after the kill, and after the resume."""

    kill: Kill
    touch: str
    killed: int
    """How the process ended: minus the number of the signal."""
    off: set[str]
    """The flags that were switched off when the process died."""
    journal: str
    """Its journal when it died."""
    status: int
    """Exit status of the resume (of the second `dr run` where there was nothing to resume)."""
    verified: int
    """Exit status of `dr audit verify`."""
    off_after: set[str]
    journal_after: str
    litter: list[str]
    """Files beside those that belong there."""


def count(told: Path, kill: Kill | None) -> None:
    """From now on write each touch into the file `told`, and die at the one that is to kill."""
    number = 0

    def counted(name: str, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        nonlocal number
        with told.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        if kill is not None and number == kill.at:
            if kill.when == "amid":
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        number += 1
        return call(*arguments, **more)

    for name in TOUCHES:
        setattr(os, name, functools.partial(counted, name, getattr(os, name)))


def forked(*arguments: str, prepare: Callable[[], None] = lambda: None) -> int:
    """`dr` in a process of its own; its exit status, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        prepare()
        try:
            cli(arguments)
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 1)  # nothing of the parent's is to be undone here
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def entries(folder: Path) -> str:
    """The journal of the newest run."""
    found = sorted(folder.glob("journal/runs/*/journal.jsonl"))
    return found[-1].read_text(encoding="utf-8") if found else ""


def off(folder: Path) -> set[str]:
    flags = msgspec.json.decode((folder / "flags.json").read_bytes())["flags"]
    return {name for name, flag in flags.items() if flag["state"] == "DISABLED"}


def told_of(origin: Path, kill: Kill | None) -> tuple[list[str], Seen | None]:
    """Run a copy of the files in `origin`, killed or not; the touches, and what was seen after kill and resume."""
    with tempfile.TemporaryDirectory(dir=origin.parent) as name:
        folder = Path(shutil.copytree(origin, Path(name) / "folder"))
        told = Path(name) / "touches"
        os.chdir(folder)
        run = ("run", "quiet.yaml", "--env", "shop", "--yes")
        status = forked(*run, prepare=lambda: count(told, kill))
        touches = told.read_text(encoding="utf-8").split()
        seen = None if kill is None else resumed(folder, kill, touches[-1], status)
        os.chdir(origin)
        return touches, seen


def resumed(folder: Path, kill: Kill, touch: str, killed: int) -> Seen:
    """Resume what was killed, or start anew where there is nothing to resume."""
    stood, journal = off(folder), entries(folder)
    status = forked("resume", "latest")
    if status == NoSuchRun.exit_status:
        status = forked("run", "quiet.yaml", "--env", "shop", "--yes")
    return Seen(
        kill=kill, touch=touch, killed=killed, off=stood, journal=journal, status=status,
        verified=forked("audit", "verify", "--all"), off_after=off(folder), journal_after=entries(folder),
        litter=[str(path.relative_to(folder)) for path in folder.rglob(".*")],
    )  # fmt: skip


def main() -> None:
    """Kill at each touch; print what was seen, a line of JSON for each kill."""
    origin = Path(sys.argv[1])
    touches, _ = told_of(origin, None)
    kills = [Kill(at, "before") for at in range(len(touches))]
    kills += [Kill(at, "amid") for at, touch in enumerate(touches) if touch == "write"]
    for kill in kills:
        _, seen = told_of(origin, kill)
        sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")


if __name__ == "__main__":
    main()
