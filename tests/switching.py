"""A change of roles in a process of its own that dies at one of its touches of the outside, by SIGKILL.

`python -m tests.switching KILL-AT`, the step and its targets on standard input. A touch is a program that is
started or given its word, or a question or command to a server or to PgBouncer; what comes after one is before the
next. KILL-AT is its number, or what it says; without a kill (-1) the touches are printed.
"""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dr.core.duration import decode_hook, encode_hook
from dr.core.step import Step
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES
from dr.targets.protocols import TargetConfig
from dr.targets.transport import libpq, program
from tests.cli.shell import PATIENCE, ROOT, environment
from tests.here import RUN, World


class Given(msgspec.Struct, frozen=True):
    kind: str
    step: dict[str, Any]
    targets: dict[str, dict[str, Any]]
    secrets: dict[str, str]
    run: str
    """What the run is called, so that the one who goes on with it finds its own claims."""


def applied(
    step: Step, targets: Mapping[str, TargetConfig], secrets: dict[str, str], folder: Path, kill_at: int | str
) -> subprocess.CompletedProcess[bytes]:
    """Apply the step in a process that dies at that touch."""
    configs = {name: msgspec.to_builtins(config, enc_hook=encode_hook) for name, config in targets.items()}
    given = Given(step.kind, msgspec.to_builtins(step, enc_hook=encode_hook), configs, secrets, RUN)
    return subprocess.run(
        [sys.executable, "-m", "tests.switching", str(kill_at)], input=msgspec.json.encode(given), capture_output=True,
        env=environment(folder), cwd=ROOT, timeout=PATIENCE, check=False,
    )  # fmt: skip


def touches(kill_at: str) -> list[str]:
    """From now on each touch is added to what is returned, and the one of that number or with these words kills."""
    seen: list[str] = []

    def counted(name: str, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        told = f"{name} {arguments[1:]}"
        if str(len(seen)) == kill_at or (not kill_at.lstrip("-").isdigit() and kill_at in told):
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(told)
        return call(*arguments, **more)

    def replaced(holder: Any, name: str) -> None:
        original = getattr(holder, name)

        @functools.wraps(original)
        def call(*arguments: Any, **more: Any) -> Any:
            return counted(name, original, *arguments, **more)

        setattr(holder, name, call)

    for name in ("__init__", "finish"):
        replaced(program.Started, name)
    for name in ("rows", "records", "command"):
        replaced(libpq.Client, name)
    return seen


def main() -> None:
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Given)
    targets = {
        name: msgspec.convert(raw, TARGET_TYPES[raw["type"]], dec_hook=decode_hook)
        for name, raw in given.targets.items()
    }
    step = msgspec.convert(given.step, CATALOGUE[given.kind], dec_hook=decode_hook)
    seen = touches(sys.argv[1])
    with World(targets, given.secrets).act() as here:
        here.run = given.run
        step.apply(here)
    sys.stdout.write(msgspec.json.encode(seen).decode())


if __name__ == "__main__":
    main()
