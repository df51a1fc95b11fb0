"""The command line as its users meet it: the real `dr` as a real process, in a folder of its own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
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
FLAGS = '{"flags": {"search": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}\n'


class Outcome(msgspec.Struct, frozen=True):
    """How a process ended and what it said."""

    status: int
    out: str
    err: str


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """What the process sees: a plain machine, and nothing of the one the tests happen to run on."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return {
        **kept,
        "PATH": f"{folder / '.bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LOGNAME": "oncall",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": str(ROOT),
        **changes,
    }


def dr(folder: Path, *arguments: str | Path, **changes: str) -> Outcome:
    """Run `dr` in `folder` to its end. `changes` are environment variables."""
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder, **changes), stdin=subprocess.DEVNULL,
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


def fingerprint(folder: Path, *, without: Sequence[str] = ()) -> dict[str, str]:
    """Every file of the folder with a hash of its content, kind and mode: equal means nothing was touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not name.startswith(tuple(without)):
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
