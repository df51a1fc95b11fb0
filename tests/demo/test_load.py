import socket
import sys
import threading
from pathlib import Path

from dr.demo import traffic, wait
from dr.demo.workspace import Workspace


def test_visitors_come_whether_or_not_those_before_them_are_served(tmp_path: Path) -> None:
    arrived: list[socket.socket] = []

    def take_and_stay_silent(listening: socket.socket) -> None:
        while True:
            try:
                arrived.append(listening.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening, Workspace() as workspace:
        threading.Thread(target=take_and_stay_silent, args=[listening]).start()
        port = str(listening.getsockname()[1])
        log = tmp_path / "log"
        workspace.spawn([sys.executable, "-m", "dr.demo.load", "--port", port, "--log", log], "load.log")
        wait.until(lambda: len(arrived) >= 30, 30, "thirty visitors, none of them served")
        assert len(traffic.read(log).visits) < 30
        wait.until(lambda: len(traffic.read(log).visits) >= 30, 30, "they give up")
        listening.shutdown(socket.SHUT_RDWR)
    assert all(visit.affected and visit.status is None for visit in traffic.read(log).visits.values())
    for visitor in arrived:
        visitor.close()


def test_a_closed_shop_is_an_error_for_every_visitor(tmp_path: Path) -> None:
    with socket.socket() as unused, Workspace() as workspace:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        log = tmp_path / "log"
        workspace.spawn([sys.executable, "-m", "dr.demo.load", "--port", port, "--log", log], "load.log")
        wait.until(lambda: log.exists() and log.read_text().count("\n") > 5, 30, "some visitors")
        found = traffic.read(log)
    assert all(visit.affected for visit in found.visits.values())
