"""Programs run on another host over SSH.

What is sent over a connection that is then lost may arrive late: the kernel goes on delivering it for minutes after dr
has given up, or was killed. A late `rm standby.signal` would undo a fence that a later attempt relies on. So each
change is run under a lock file on that host, which holds a token: whoever begins to change something there puts a token
of its own into it, which waits for what is at work to end and makes what has yet to arrive end without having done
anything (a fencing token). Asking `ps` for what is at work, as `ssh.command` does, was rejected: it cannot see what has
not arrived.

The host needs `flock` of util-linux and a home directory for the user who logs in.
"""

import secrets
import shlex
import time
from collections.abc import Sequence
from typing import Final

from dr.targets.protocols import TargetUnreachable
from dr.targets.transport.program import MOST_OUTPUT, Said
from dr.targets.transport.ssh_hosts import Hosts

TAKEN_OVER: Final = 97
AT_WORK: Final = 98
# The first argument is what is done under the lock; after it come seconds to wait, the lock file and the token.
# The lock is not handed down (--close): a server that is started would keep it.
UNDER_LOCK: Final = f'cd && exec flock --close --conflict-exit-code {AT_WORK} --wait "$1" "$2" sh -c "$0" "$@"'
TAKE: Final = 'printf "%s\\n" "$2" >"$1"'
RUN: Final = f'read -r holder <"$1" && [ "$holder" = "$2" ] || exit {TAKEN_OVER}; shift 2; exec "$@"'


class SshPrograms:
    """The one host of a group. `subject` is what is changed there: who changes another thing takes another lock."""

    def __init__(self, name: str, hosts: object, subject: str) -> None:
        assert isinstance(hosts, Hosts)  # it was checked that it speaks HostGroup, and there is one technology for that
        if len(hosts.hosts) != 1:
            raise TargetUnreachable(f"{name}: its `ssh` has {len(hosts.hosts)} hosts, and it runs on one")
        self._name = name
        self._hosts = hosts
        self._lock = ".dr-lock" + subject.replace("/", "-")
        self._token = ""

    def look(self, argv: Sequence[str], deadline: float, *, most: int = MOST_OUTPUT) -> Said:
        return self._run(argv, deadline, most=most)

    def change(self, argv: Sequence[str], deadline: float, *, text: str = "") -> Said:
        if not self._token:
            self.take_over(deadline)
        token, self._token = self._token, ""  # kept only when it is known how this change has ended
        said = self._under_lock(RUN, token, argv, deadline, text)
        if said.status == TAKEN_OVER:
            raise TargetUnreachable(f"{self._name}: another dr has begun to change it; this one changes no more there")
        self._token = token
        return said

    def take_over(self, deadline: float) -> None:
        token = secrets.token_hex(16)
        said = self._under_lock(TAKE, token, (), deadline)
        if said.status:
            raise TargetUnreachable(f"{self._name}: {said.words()}")
        self._token = token

    def close(self) -> None:
        self._hosts.close()

    def _under_lock(self, script: str, token: str, argv: Sequence[str], deadline: float, text: str = "") -> Said:
        wait = f"{max(0.0, deadline - time.monotonic()) / 2:.3f}"  # so that the answer arrives in time
        said = self._run(("sh", "-c", UNDER_LOCK, script, wait, self._lock, token, *argv), deadline, text)
        if said.status == AT_WORK:
            raise TargetUnreachable(f"{self._name}: what was begun on its host earlier is still at work there")
        return said

    def _run(self, argv: Sequence[str], deadline: float, text: str = "", most: int = MOST_OUTPUT) -> Said:
        status, said = self._hosts.execute(shlex.join(argv), deadline, text, most)
        if status is None:
            raise TargetUnreachable(f"{self._name}: {self._hosts.hosts[0]}: {said}")
        return Said(status, said, "")
