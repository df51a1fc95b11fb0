"""`dr`'s side of a playbook: starts the process that runs it, listens, and ends it by hanging up."""

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from dr.targets.protocols import TargetUnreachable
from dr.targets.transport.ansible_supervisor import End, Order, Task, Told

SUPERVISOR: Final = "dr.targets.transport.ansible_supervisor"
TICK: Final = 0.1
PATIENCE: Final = 30.0
"""Seconds in which the supervisor has ended what is below it; it takes a fraction of one."""
MOST_SAID: Final = 500
KEPT: Final = ("HOME", "KRB5CCNAME", "LANG", "LOGNAME", "PYTHONPATH", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER")
"""Variables that Ansible gets. The others may hold secrets, or change what the playbook does behind the plan's back."""


def play(name: str, label: str, order: Order, deadline: float, heard: Callable[[Task | None], None]) -> End:
    """Run a playbook to its end.

    Args:
        name: the target's; errors begin with it.
        label: `dr:<run>:<step>:<attempt>`; it stands in the process list.
        order: what to play.
        deadline: a time of `time.monotonic`.
        heard: gets each task's end as it comes, and None several times a second. What it raises ends the playbook.

    Raises:
        TargetUnreachable: it did not end in time, or broke off; or one of an earlier attempt is still being ended.
    """
    if is_under_way(label.rsplit(":", 1)[0] + ":"):
        raise TargetUnreachable(f"{name}: a playbook of this step is still being ended")
    with _supervised(label, order) as (told, errors):
        while time.monotonic() < deadline:
            try:
                message = told.get(timeout=TICK)
            except queue.Empty:
                heard(None)
                continue
            if isinstance(message, Task):
                heard(message)
            elif message is not None:
                return message
            else:
                raise TargetUnreachable(f"{name}: ansible-runner broke off: {_tail(errors)}")
    raise TargetUnreachable(f"{name}: the playbook did not end in time and was ended")


@contextmanager
def _supervised(label: str, order: Order) -> Iterator[tuple["queue.SimpleQueue[Told | None]", IO[bytes]]]:
    """What the supervisor tells; None after the last. At the end nothing that it has started is alive."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, label],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment(), start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        listener = threading.Thread(target=_listen, args=(process.stdout, told), name="dr-play", daemon=True)
        listener.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(order) + b"\n")
                process.stdin.flush()
            yield told, errors
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(PATIENCE)
            listener.join()
            process.stdout.close()


def _listen(stream: IO[bytes], told: "queue.SimpleQueue[Told | None]") -> None:
    for line in stream:
        told.put(msgspec.json.decode(line, type=Told))
    told.put(None)


def environment() -> dict[str, str]:
    """Ansible's: its program is looked for beside this Python first."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PATH": search_path(), "LC_ALL": "C.UTF-8"}


def search_path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def is_under_way(label: str) -> bool:
    """Whether a supervisor whose label begins so is alive on this machine."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if SUPERVISOR.encode() in words and any(word.startswith(label.encode()) for word in words):
                return True
    return False


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode("utf-8", "replace").strip()[-MOST_SAID:] or "it said nothing"
