"""The same command on many hosts, some of them at a time, by a deadline.

Each host gets one connection, which is kept for the next command. The threads are daemons: paramiko bounds most waits,
but neither a name look-up nor every one of its own, and a thread that hangs must not keep `dr` from ending.
"""

import queue
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import paramiko

from dr.targets.protocols import HostAnswer, TargetUnreachable
from dr.targets.transport.program import Ends
from dr.targets.transport.ssh_login import Login, dial, split

MOST_OUTPUT: Final = 8192
"""Bytes of a command's output that are kept, from its end (safety rule 15)."""
MOST_TEXT: Final = 300
"""Characters of an error: a server may answer with anything."""
AT_A_TIME: Final = 32_768
"""Bytes that are read at once."""
WAKE: Final = 0.2
"""Seconds between two looks at whether a silent command has ended."""
ASK: Final = 0.1
"""Seconds between two questions whether to go on."""
PINGS_AT_ONCE: Final = 32
LATE: Final = "no answer in time; what was begun there may go on"

GoOn = Callable[[Sequence[HostAnswer]], bool]


class Jump(msgspec.Struct, frozen=True):
    """The host through which the others are reached."""

    address: str
    user: str


class Hosts:
    """A HostGroup. One call at a time; what it begins runs side by side."""

    def __init__(
        self, hosts: tuple[str, ...], login: Login, timeout: float, *, jump: Jump | None, may_be_down: int
    ) -> None:
        self.hosts = hosts
        self._login = login
        self._jump = jump
        self._may_be_down = may_be_down
        self._deadline = time.monotonic() + timeout
        self._lock = threading.Lock()
        self._at_jump = threading.Lock()
        self._clients: dict[str, paramiko.SSHClient] = {}
        self._socks: list[socket.socket] = []
        self._closed = False

    def ping(self) -> None:
        """All can be logged into, but for `may_be_down`. Raises TargetUnreachable."""
        answers = self._each(self._greet, self.hosts, PINGS_AT_ONCE, lambda _: True)
        silent = [f"{answer.host}: {answer.said}" for answer in answers if answer.status is None]
        if len(silent) > self._may_be_down:
            more = f"; and {len(silent) - 3} more" if len(silent) > 3 else ""  # noqa: PLR2004 - a line's worth
            raise TargetUnreachable(f"{self._login.name}: " + "; ".join(silent[:3]) + more)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, {}
            socks, self._socks = self._socks, []
        jump = clients.pop("", None)
        if jump is not None:  # what goes through it says good-bye through it; too late, and its thread ends in an error
            for client in clients.values():
                client.close()
            clients = {"": jump}
        for sock in socks:  # paramiko's threads wake at once; left to find out, each takes a tenth of a second
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for client in clients.values():
            client.close()
        for sock in socks:
            sock.close()

    def run(self, argv: Sequence[str], hosts: Sequence[str], *, at_once: int, go_on: GoOn) -> tuple[HostAnswer, ...]:
        command = shlex.join(argv)
        return self._each(lambda host: self._command(host, command), hosts, at_once, go_on)

    def _each(
        self, work: Callable[[str], HostAnswer], hosts: Sequence[str], at_once: int, go_on: GoOn
    ) -> tuple[HostAnswer, ...]:
        """`work` for each host, in threads; the answers in the order they came. Begins no more when told not to."""
        waiting, running = deque(hosts), set[str]()
        done: queue.SimpleQueue[HostAnswer] = queue.SimpleQueue()
        answers: list[HostAnswer] = []
        try:
            while go_on(answers) or running:
                while waiting and len(running) < at_once and go_on(answers):
                    running.add(host := waiting.popleft())
                    threading.Thread(target=lambda at=host: done.put(work(at)), name=f"ssh-{host}", daemon=True).start()
                if not running:
                    break
                left = self._deadline - time.monotonic()
                with suppress(queue.Empty):
                    answers.append(done.get(timeout=max(0.0, min(ASK, left))))
                    running.remove(answers[-1].host)
                    continue
                if left <= 0:
                    answers += (HostAnswer(host=host, status=None, said=LATE) for host in hosts if host in running)
                    break
        finally:
            if running:
                self.close()
        return tuple(answers)

    def _greet(self, host: str) -> HostAnswer:
        try:
            self._client(host)
        except (paramiko.SSHException, OSError, EOFError) as error:
            return HostAnswer(host=host, status=None, said=_words(error))
        return HostAnswer(host=host, status=0, said="")

    def execute(self, command: str, deadline: float, text: str, most: int) -> tuple[HostAnswer, str]:
        """Run it on the one host there is, by `deadline` (a time of `time.monotonic`); `text` is its standard input.

        Returns how it ended, with the last `most` bytes of its standard output, and of its standard error both ends.
        """
        self._deadline = deadline
        complaints = Ends(MOST_OUTPUT)

        def command_on(host: str) -> HostAnswer:
            return self._command(host, command, text, most, complaints)

        [answer] = self._each(command_on, self.hosts, 1, lambda _: True)
        return answer, complaints.text()

    def _command(
        self,
        host: str,
        command: str,
        text: str = "",
        most: int = MOST_OUTPUT,
        complaints: Ends | None = None,
    ) -> HostAnswer:
        """With `complaints` the standard error goes there, and does not stand among the output."""
        try:
            transport = self._client(host).get_transport()
            assert transport is not None
            with transport.open_session(timeout=self._left()) as channel:
                channel.set_combine_stderr(complaints is None)
                channel.settimeout(self._left())
                channel.exec_command(command)
                channel.sendall(text.encode())
                channel.shutdown_write()
                said = self._output(channel, most, complaints)
                channel.status_event.wait(self._left())
                status = channel.exit_status
        except (paramiko.SSHException, OSError, EOFError) as error:
            return HostAnswer(host=host, status=None, said=_words(error))
        if status < 0:
            late = time.monotonic() >= self._deadline
            why = LATE if late else "the connection was lost, or a signal ended the command"
            said = f"{said}\n{why}".strip()
        return HostAnswer(host=host, status=status if status >= 0 else None, said=said)

    def _output(self, channel: paramiko.Channel, most: int, complaints: Ends | None) -> str:
        """The end of what the command says, read to its end so that it is never held up; `complaints` gets the rest.

        A daemon that a command leaves behind may keep its output open for ever. So the command's own end is enough.
        """
        kept, cut = b"", False
        channel.settimeout(WAKE)
        while self._left() > 0:
            complains = _take_complaints(channel, complaints)
            try:
                data = channel.recv(AT_A_TIME)
            except TimeoutError:
                if channel.exit_status_ready() and not complains:
                    break
                continue
            if not data:
                break
            cut = cut or len(kept) + len(data) > most
            kept = (kept + data)[-most:]
        _take_complaints(channel, complaints)
        return ("..." if cut else "") + kept.decode("utf-8", "replace").strip()

    def _client(self, host: str) -> paramiko.SSHClient:
        """The connection to the host, made if there is none."""
        client = self._clients.get(host)
        if client is not None and _is_alive(client):
            return client
        if self._jump is None:
            sock: socket.socket | paramiko.Channel = self._dial(host)
        else:
            sock = self._through(self._jump, host)
        return self._keep(host, self._login.connect(host, sock, self._left()))

    def _through(self, jump: Jump, host: str) -> paramiko.Channel:
        """A channel to the host, opened by the jump host."""
        with self._at_jump:
            client = self._clients.get("")
            if client is None or not _is_alive(client):
                login = self._login.as_user(jump.user)
                client = self._keep("", login.connect(jump.address, self._dial(jump.address), self._left()))
        transport = client.get_transport()
        assert transport is not None
        return transport.open_channel("direct-tcpip", split(host), ("127.0.0.1", 0), timeout=self._left())

    def _dial(self, address: str) -> socket.socket:
        sock = dial(address, self._left())
        with self._lock:
            if not self._closed:
                self._socks.append(sock)
                return sock
        sock.close()
        raise TimeoutError

    def _keep(self, host: str, client: paramiko.SSHClient) -> paramiko.SSHClient:
        """Hold the connection for the next command; one that comes too late is closed."""
        with self._lock:
            if not self._closed:
                self._clients[host] = client
                return client
        client.close()
        raise TimeoutError

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())


def _take_complaints(channel: paramiko.Channel, into: Ends | None) -> bool:
    """What stands ready of its standard error; whether that was anything."""
    found = into is not None and channel.recv_stderr_ready()
    while into is not None and channel.recv_stderr_ready():
        into.add(channel.recv_stderr(AT_A_TIME))
    return found


def _is_alive(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _words(error: Exception) -> str:
    """Why a host could not be asked."""
    match error:
        case paramiko.BadHostKeyException():
            return "its host key is another one than the known one: somebody may be in between"
        case paramiko.AuthenticationException():
            return "it refuses the key" if str(error) else "it refuses to log in"
        case TimeoutError():
            return "no answer in time"
        case paramiko.ssh_exception.NoValidConnectionsError() | OSError():
            return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:MOST_TEXT]
        case _:
            return (str(error) or "the connection was lost")[:MOST_TEXT]
