import socket
import sys
from pathlib import Path

from dr.demo import monitor, wait
from dr.demo.monitor import WINDOW, Alarm, Monitor
from dr.demo.workspace import Workspace


def tell(judge: Monitor, *results: str) -> list[Alarm]:
    return [alarm for at, met in enumerate(results) if (alarm := judge.add(met, float(at)))]


def test_half_of_the_window_failing_is_an_alarm_and_one_alarm_only() -> None:
    judge = Monitor()
    assert tell(judge, *["ok"] * WINDOW) == []
    assert tell(judge, *["503"] * (WINDOW // 2 - 1)) == []
    [alarm] = tell(judge, *["slow"] * WINDOW)
    assert alarm == Alarm(at=0.0, raised=True, failing=0.5, seen={"ok": 10, "503": 9, "slow": 1})


def test_the_alarm_ends_when_nearly_all_is_well() -> None:
    judge = Monitor()
    tell(judge, *["503"] * WINDOW)
    assert tell(judge, *["ok"] * (WINDOW - 2)) == []
    [over] = tell(judge, "ok", "ok")
    assert not over.raised
    assert over.failing == 0.05


def test_a_few_first_failures_are_no_alarm() -> None:
    assert tell(Monitor(), *["no answer"] * (WINDOW // 2 - 1)) == []


def test_a_shop_that_is_down_raises_an_alarm(tmp_path: Path) -> None:
    with socket.socket() as unused, Workspace() as workspace:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        log = tmp_path / "log"
        workspace.spawn([sys.executable, "-m", "dr.demo.monitor", "--port", port, "--log", log], "monitor.log")
        wait.until(lambda: log.exists() and bool(monitor.read(log)), 30, "an alarm")
        [alarm] = monitor.read(log)
    assert alarm.raised
    assert alarm.seen == {"no answer": WINDOW // 2}
