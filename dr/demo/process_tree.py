"""Stopping and killing a process together with its descendants."""

import contextlib
from functools import partial

import psutil

from dr.demo import wait

LIMIT = 30.0  # seconds for a signal to take effect


def freeze(root: psutil.Process) -> list[psutil.Process]:
    """SIGSTOP to a process and then to its descendants: stopped first, it starts no further one.

    Returns all of them, the root first, when they have come to a stop. Raises psutil.NoSuchProcess if the root has
    ended.
    """
    halt(root)
    descendants = root.children(recursive=True)
    for process in descendants:
        halt(process)
    return [root, *descendants]


def halt(process: psutil.Process) -> None:
    """SIGSTOP to one process; the signal returns at once, the process stops a little later."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
    wait.until(lambda: ended(process) or process.status() == psutil.STATUS_STOPPED, LIMIT, f"a stop of {process.pid}")


def thaw(root: psutil.Process) -> None:
    """Let a frozen tree go on, the root last: it must not miss a child that ends at once."""
    for process in (*root.children(recursive=True), root):
        process.resume()


def kill(root: psutil.Process) -> None:
    """SIGKILL to a process and its descendants, and wait until they have ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = freeze(root)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in tree:
            wait.until(partial(ended, process), LIMIT, f"the end of process {process.pid}")


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie: its parent may be waiting for the caller."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
