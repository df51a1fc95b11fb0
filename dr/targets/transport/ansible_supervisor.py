"""The process that runs one playbook and ends everything it has started: `python -m ... LABEL`, an Order on its input.

Neither ansible-runner nor ansible-playbook ends its children when it is cancelled, times out or dies: Ansible's workers
lead sessions of their own, and its SSH connections are daemons. So `dr` never is the parent. This process adopts every
orphan below it (PR_SET_CHILD_SUBREAPER), and its input is a lifeline: it closes when `dr` wants that or dies, whatever
of, and then all that is below is killed. An ordinary end takes the same way, so the rare one is tried every time.

What it leaves in the file system, the secrets included, lies in one folder that it removes.
"""

import ctypes
import json
import os
import queue
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

CALLBACKS: Final = Path(__file__).parent / "ansible_callbacks"
PR_SET_CHILD_SUBREAPER: Final = 36
PAUSE: Final = 0.02
"""Seconds between two looks for what is still alive."""
LONGEST_SOCKETS: Final = 70
"""Characters of the folder of ssh's sockets; with their names the kernel takes 107. Beyond it none is shared."""
LARGEST_ORDER: Final = 4 * 1024 * 1024
MOST_SAID: Final = 500


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be played. Everything in it may be secret, so it comes by the input and goes on by files."""

    playbook: str
    folder: str
    """Where the playbooks are, and relative paths begin."""
    inventory: str
    variables: dict[str, Any]
    check: bool
    """Only predict what would change."""
    limit: str
    tags: tuple[str, ...]
    user: str
    key: str
    known_hosts: str
    vault_password: str


class Task(msgspec.Struct, frozen=True, kw_only=True, tag="task"):
    """How a task ended on a host."""

    host: str
    task: str
    outcome: str
    """ok, changed, failed, unreachable, skipped; unpredicted: check mode cannot tell what it would do."""
    said: str = ""


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The playbook has ended."""

    status: int
    """Of ansible-playbook: 0, 2 when a task failed, 4 when a host was unreachable, others when it could not begin."""
    hosts: tuple[str, ...]
    """Those that were played on."""
    said: str = ""
    """The end of its output when it could not begin."""


Told = Task | End
OUTCOMES: Final = {
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


class Playing:
    """One playbook under way."""

    def __init__(self, order: Order, folder: Path) -> None:
        self._order = order
        self._folder = folder
        self._hosts: tuple[str, ...] = ()
        self.told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        """Play it to its end. What happens goes into the queue: a handler that is slow makes ansible-runner give up."""
        import ansible_runner

        try:
            runner = ansible_runner.run(
                private_data_dir=str(self._folder), project_dir=self._order.folder, playbook=self._order.playbook,
                cmdline=shlex.join(self._arguments()), envvars=self._environment(), event_handler=self._heard,
                cancel_callback=self.cancelled.is_set, quiet=True, suppress_env_files=True,
            )  # fmt: skip
            for line in self._skipped():
                self.told.put(line)
            said = "" if self._hosts else runner.stdout.read()[-MOST_SAID:]
            self.told.put(End(status=runner.rc if runner.rc is not None else -1, hosts=self._hosts, said=said))
        finally:
            self.ended.set()

    def _arguments(self) -> list[str]:
        """No value of a variable is among them: whoever may list processes may read them."""
        order, hosts_known = self._order, "-o StrictHostKeyChecking=yes"
        if order.known_hosts:
            hosts_known += " -o " + shlex.quote(f"UserKnownHostsFile={shlex.quote(order.known_hosts)}")
        arguments = [
            f"--inventory={order.inventory}",
            f"--extra-vars=@{self._secret('variables.json', json.dumps(order.variables))}",
            f"--ssh-common-args={hosts_known}",
        ]
        given = {"limit": order.limit, "tags": ",".join(order.tags), "user": order.user, "private-key": order.key}
        arguments += [f"--{name}={value}" for name, value in given.items() if value]
        if order.vault_password:
            arguments.append(f"--vault-password-file={self._secret('vault', order.vault_password)}")
        return arguments + ["--check"] * order.check

    def _environment(self) -> dict[str, str]:
        sockets = str(self._folder / "ssh")
        shared = {} if len(sockets) <= LONGEST_SOCKETS else {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
        return {
            **shared,
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "dr_skipped",
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_NOCOLOR": "True",
            # Only without it do commands get a terminal, whose end is what ends them on their host when all is killed.
            "ANSIBLE_PIPELINING": "False",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            "DR_SKIPPED": str(self._folder / "skipped"),
        }

    def _secret(self, name: str, content: str) -> str:
        """A file that only this user can read."""
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="utf-8")
        return str(path)

    def _heard(self, event: Mapping[str, Any]) -> None:
        data = event.get("event_data", {})
        kind = event["event"]
        if kind == "playbook_on_stats":
            self._hosts = tuple(sorted(data.get("processed", {})))
        elif kind == "runner_on_ok" or kind in OUTCOMES:
            result = data.get("res") or {}
            outcome = OUTCOMES.get(kind) or ("changed" if result.get("changed") else "ok")
            if outcome == "failed" and data.get("ignore_errors"):
                outcome = "ok"
            said = str(result.get("msg", ""))[:MOST_SAID] if outcome in {"failed", "unreachable"} else ""
            self.told.put(Task(host=str(data.get("host")), task=str(data.get("task")), outcome=outcome, said=said))

    def _skipped(self) -> list[Task]:
        if not self._order.check:
            return []
        with suppress(FileNotFoundError):
            lines = (self._folder / "skipped").read_text(encoding="utf-8").splitlines()
            return [msgspec.json.decode(line, type=Task) for line in lines]
        return []


def main() -> None:
    """Read the order, play it, tell what happens, and leave nothing behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    order = msgspec.json.decode(sys.stdin.buffer.readline(LARGEST_ORDER), type=Order)
    folder = Path(tempfile.mkdtemp(prefix="dr-play-"))
    output = os.dup(1)
    os.dup2(2, 1)  # what others print is not for `dr`'s ears
    playing = Playing(order, folder)
    signal.signal(signal.SIGTERM, lambda *_: playing.cancelled.set())
    threading.Thread(target=_hold, args=(playing,), daemon=True).start()
    threading.Thread(target=_tell, args=(playing, output), daemon=True).start()
    play = threading.Thread(target=playing.run, daemon=True)
    play.start()
    while not playing.cancelled.wait(PAUSE) and not playing.ended.is_set():
        pass
    while end_children() or play.is_alive():
        time.sleep(PAUSE)
    shutil.rmtree(folder, ignore_errors=True)
    playing.told.put(None)
    playing.cancelled.wait()  # `dr` closes the lifeline when it has heard the end


def _hold(playing: Playing) -> None:
    """The lifeline."""
    sys.stdin.buffer.read(1)
    playing.cancelled.set()


def _tell(playing: Playing, output: int) -> None:
    """Write down what happens. Nobody listening any more is the lifeline's business."""
    with suppress(BrokenPipeError), os.fdopen(output, "wb") as file:
        while (told := playing.told.get()) is not None:
            file.write(msgspec.json.encode(told) + b"\n")
            file.flush()


def end_children() -> bool:
    """SIGKILL to every process below this one; whether there was any. Those that have ended are reaped."""
    children = descendants(os.getpid())
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:
        with suppress(ChildProcessError):  # not (yet) a child of this one; it will be
            os.waitpid(pid, os.WNOHANG)
    return bool(children)


def descendants(root: int) -> list[int]:
    """Process ids below `root`, as they stand now."""
    below: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(place.read_text(errors="replace").rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(place.parent.name))
    found, look = list[int](), [root]
    while look:
        children = below.get(look.pop(), [])
        found += children
        look += children
    return found


if __name__ == "__main__":
    main()
