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
    wait.until(partial(stands_still, process), LIMIT, f"a stop of process {process.pid}")


def thaw(root: psutil.Process) -> None:
    """Let a frozen tree go on, the root last: it must not miss a child that ends at once."""
    for process in (*root.children(recursive=True), root):
        process.resume()


def kill(root: psutil.Process) -> None:
    """SIGKILL to a process and its descendants, and wait until they have ended.

    Raises wait.WaitExpired if one does not end, when all of them were told to.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        with contextlib.suppress(wait.WaitExpired):  # what does not stop can still be killed
            halt(root)
        tree = [root, *root.children(recursive=True)]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in tree:
            wait.until(partial(ended, process), LIMIT, f"the end of process {process.pid}")


def stands_still(process: psutil.Process) -> bool:
    """Whether a process is stopped (or gone). One that somebody traces stops in a way of its own."""
    try:
        return process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return True


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie: its parent may be waiting for the caller."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
