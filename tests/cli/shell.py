"""The command line as its users meet it: the real `dr` as a real process, in a folder of its own."""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0
"""Seconds after which a test gives up a process that should have ended long ago."""


GOOD = """\
name: quiet
title: Switch off what floods the database
parameters:
  feature: {default: search}
steps:
  - id: off
    kind: feature.disable
    with: {store: flags, flag: "${feature}"}
"""
SHOP = """\
[environments.shop.targets.flags]
type = "flagd-file"
path = "flags.json"
"""
RUN = ("run", "good.yaml", "--env", "shop", "--yes")
FAILING = GOOD.replace("${feature}", "offers") + "    retry: {attempts: 1}\n"
"""Pauses: there is no such flag."""
FLAGS = '{"flags": {"search": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}\n'


class Outcome(msgspec.Struct, frozen=True):
    """How a process ended and what it said."""

    status: int
    out: str
    err: str


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """What the process sees: a plain machine, and nothing of the one the tests happen to run on."""
    return {
        "PATH": f"{folder / '.bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LOGNAME": "oncall",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TMPDIR": tempfile.gettempdir(),
        "PYTHONPATH": str(ROOT),
        **changes,
    }


def dr(folder: Path, *arguments: str | Path, on: Sequence[str] = (), **changes: str) -> Outcome:
    """Run `dr` in `folder` to its end, on that machine. `changes` are environment variables."""
    done = subprocess.run(
        [*on, *command(*arguments)], cwd=folder, env=environment(folder, **changes), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def command(*arguments: str | Path) -> list[str]:
    """`dr` with these arguments, as a list for the kernel."""
    return [sys.executable, "-m", "dr", *map(str, arguments)]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Put the files there."""
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file of the folder with a hash of its content, kind and mode: equal means nothing was touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        elif path.is_dir():
            found[name] = "directory"
    return found


def refused(folder: Path, *arguments: str | Path, status: int, **changes: str) -> str:
    """What `dr` complained about; holds that it had this exit status, touched nothing and has no defect."""
    before = fingerprint(folder)
    seen = dr(folder, *arguments, **changes)
    assert fingerprint(folder) == before
    assert_told(seen, status)
    return seen.err


def assert_told(seen: Outcome, status: int) -> None:
    assert seen.status == status, seen.err
    assert "Traceback" not in seen.err
    assert "[internal]" not in seen.err
    assert "nothing was touched" in seen.err or "Usage:" in seen.err or status == 12


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str | Path, on: Sequence[str] = (), **popen: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """`dr`, working in the background, on that machine. It is killed at the end if it still lives."""
    streams = {name: popen.pop(name, subprocess.DEVNULL) for name in ("stdin", "stdout", "stderr")}
    variables = popen.pop("env", environment(folder))
    process = subprocess.Popen([*on, *command(*arguments)], cwd=folder, env=variables, **streams, **popen)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a flag file: whoever wants to edit it stands still in the middle of a step."""
    opened = os.open(path, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(opened)


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def journal(folder: Path) -> list[dict[str, Any]]:
    """The events of the only run in the folder, as far as they are complete."""
    found = list(folder.glob("journal/runs/*/journal.jsonl"))
    if not found:
        return []
    lines = found[0].read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line)["event"] for line in lines]


def types(folder: Path) -> list[str]:
    """The types of those events."""
    return [event["type"] for event in journal(folder)]


def flags_off(folder: Path) -> set[str]:
    """The flags that are switched off."""
    flags = msgspec.json.decode((folder / "flags.json").read_bytes())["flags"]
    return {name for name, flag in flags.items() if flag["state"] == "DISABLED"}
