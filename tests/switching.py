"""A switchover in a process of its own that dies at one of its touches of the outside, by SIGKILL.

`python -m tests.switching PRIMARY STANDBY KILL-AT`, the targets on standard input. A touch is a program that is
started or given its word, or a question or command to a server or to PgBouncer; what comes after one is before the
next. Without a kill (-1) it prints the touches.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dr.core.duration import decode_hook, encode_hook
from dr.steps.database_switchover import DatabaseSwitchover
from dr.targets.catalogue import TARGET_TYPES
from dr.targets.protocols import TargetConfig
from dr.targets.transport import libpq, program
from tests.here import RUN, World


class Given(msgspec.Struct, frozen=True):
    targets: dict[str, dict[str, Any]]
    secrets: dict[str, str]
    run: str
    """What the run is called, so that the one who goes on with it finds its own claims."""


def given(targets: Mapping[str, TargetConfig], secrets: dict[str, str]) -> bytes:
    """What the process reads."""
    configs = {name: msgspec.to_builtins(config, enc_hook=encode_hook) for name, config in targets.items()}
    return msgspec.json.encode(Given(configs, secrets, RUN))


def touches(kill_at: int) -> list[str]:
    """From now on each touch is added to what is returned, and the one of that number kills."""
    seen: list[str] = []

    def counted(name: str, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(f"{name} {arguments[1:]}")
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
    primary, standby, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Given)
    targets = {
        name: msgspec.convert(raw, TARGET_TYPES[raw["type"]], dec_hook=decode_hook)
        for name, raw in given.targets.items()
    }
    seen = touches(kill_at)
    with World(targets, given.secrets).act() as here:
        here.run = given.run
        DatabaseSwitchover(primary=primary, standby=standby, pool="pool").apply(here)
    sys.stdout.write(msgspec.json.encode(seen).decode())


if __name__ == "__main__":
    main()
