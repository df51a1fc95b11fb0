import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr.demo import traffic, wait
from dr.demo.traffic import Traffic
from dr.demo.workspace import Workspace


@contextmanager
def visitors(port: int, log: Path) -> Iterator[None]:
    with Workspace() as workspace:
        argv = [sys.executable, "-m", "dr.demo.load", "--port", str(port), "--log", str(log)]
        workspace.spawn(argv, "load.log")
        yield


@contextmanager
def silent_shop() -> Iterator[tuple[int, list[socket.socket]]]:
    """A shop that lets everybody in and serves nobody: its port, and who came."""
    came: list[socket.socket] = []

    def let_in() -> None:
        while True:
            try:
                came.append(listening.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        door = threading.Thread(target=let_in)
        door.start()
        try:
            yield listening.getsockname()[1], came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            door.join()
            for visitor in came:
                visitor.close()


def ended_visits(log: Path) -> Traffic | None:
    return traffic.read(log) if log.exists() and log.read_text() else None


def test_visitors_come_whether_or_not_those_before_them_are_served(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with silent_shop() as (port, came), visitors(port, log):
        wait.until(lambda: len(came) >= 30, 30, "thirty visitors, none of them served")
        assert len(traffic.read(log).visits) < 30
        wait.until(lambda: len(traffic.read(log).visits) >= 30, 30, "they give up")
        found = traffic.read(log)
    assert all(visit.affected and visit.status is None for visit in found.visits.values())


def test_a_closed_shop_is_an_error_for_every_visitor(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with visitors(unused.getsockname()[1], log):
            wait.until(lambda: (seen := ended_visits(log)) is not None and len(seen.visits) > 5, 30, "some visitors")
            found = traffic.read(log)
    assert all(visit.affected for visit in found.visits.values())
