"""HAProxy's Runtime API: a line of commands goes in, text comes out, and HAProxy hangs up."""

import socket
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from dr.targets.protocols import Opening, TargetUnreachable
from dr.targets.transport import tcp
from dr.targets.transport.deadline import within

MOST_BYTES: Final = 4 << 20
"""An answer that is larger is not read (safety rule 15); a backend's servers take some 200 bytes each."""


class RuntimeApi:
    """A stats socket of HAProxy, asked on a connection of its own each time: so a reload in between harms nothing.

    Args:
        at: the path of a unix socket, or (host, port).
    """

    def __init__(self, at: str | tuple[str, int], opening: Opening) -> None:
        self._at = at
        self._name = opening.name
        self._deadline = time.monotonic() + opening.timeout

    def keep_within(self, seconds: float) -> None:
        """From now on the deadline is that many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def ask(self, *commands: str) -> str:
        """What HAProxy answers to these commands, which it executes one after the other.

        Raises:
            TargetUnreachable: no whole answer by the deadline.
        """
        try:
            # A name look-up has no limit of its own, and neither has a unix socket whose queue is full.
            connection = within(self._left(), self._connect, discard=socket.socket.close)
            with closing(connection):
                connection.settimeout(self._left())
                connection.sendall("; ".join(commands).encode() + b"\n")
                return self._read(connection)
        except TimeoutError:
            raise TargetUnreachable(f"{self._name} did not answer in time") from None
        except OSError as error:
            raise TargetUnreachable(f"{self._name}: {error.strerror or error}") from None

    def order(self, *commands: str) -> None:
        """Have commands executed that answer nothing when they succeed.

        Raises:
            LookupError: HAProxy refuses one of them; those before it are in force.
            TargetUnreachable: no answer by the deadline; they may be in force or not.
        """
        if answer := " ".join(self.ask(*commands).split()):
            raise LookupError(f"{self._name}: HAProxy says: {answer}")

    def servers(self, backend: str) -> Mapping[str, Mapping[str, str]]:
        """`show servers state` by the servers' names: each value under the name of its column.

        Raises:
            LookupError: there is no such backend.
        """
        _, _, table = self.ask(f"show servers state {backend}").partition("\n# ")
        if not table:
            raise LookupError(f"{self._name}: HAProxy has no backend {backend}")
        columns, *lines = (line.split(" ") for line in table.splitlines() if line)
        rows = [dict(zip(columns, line, strict=False)) for line in lines]
        return {row["srv_name"]: row for row in rows}

    def statistics(self, backend: str) -> Mapping[str, Mapping[str, str]]:
        """`show stat` of the backend's servers by their names: each value under the name of its column."""
        columns, *lines = (line.split(",") for line in self.ask(f"show stat {backend} 4 -1").splitlines() if line)
        rows = [dict(zip(columns, line, strict=False)) for line in lines]
        return {row["svname"]: row for row in rows}

    def _connect(self) -> socket.socket:
        if isinstance(self._at, tuple):
            return tcp.connect(*self._at, self._left())
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._at)
        except OSError:
            connection.close()
            raise
        return connection

    def _read(self, connection: socket.socket) -> str:
        """All of the answer: its end is the end of the connection, after a last empty line."""
        answer = bytearray()
        while part := connection.recv(65_536):
            answer += part
            if len(answer) > MOST_BYTES:
                raise TargetUnreachable(f"{self._name} answers with more than {MOST_BYTES} bytes")
            connection.settimeout(self._left())
        if not answer.endswith(b"\n"):
            raise TargetUnreachable(f"{self._name} hung up in the middle of its answer")
        return answer.decode(errors="replace")

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())
