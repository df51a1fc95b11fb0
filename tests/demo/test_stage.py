import json
import time

from dr.demo import flags, monitor, stage, traffic, wait
from dr.demo.stage import Stage
from dr.demo.workspace import Workspace

LOOPS = "query like '/*feature=''recommendations''*/%'"


def affected(on: Stage, seconds: float) -> float:
    """Share of the visitors affected who come in the next seconds."""
    since = time.time()
    due = since + seconds + traffic.SLOW
    wait.until(lambda: time.time() > due, seconds + 30, "they have come and waited")
    return traffic.read(on.traffic).share(since, since + seconds)


def edit(on: Stage, feature: str, **members: object) -> None:
    document = json.loads(on.flags.read_text())
    document["flags"][feature].update(members)
    flags.replace(on.flags, document)


def test_the_incident_happens_and_each_measure_does_what_it_did() -> None:
    with Workspace() as workspace:
        on = stage.build(workspace)
        assert affected(on, 2) < 0.01

        flags.release(on.flags, flags.RECOMMENDATIONS)
        wait.until(lambda: any(alarm.raised for alarm in monitor.read(on.alarms)), 60, "the alarm")
        assert affected(on, 1) >= 0.8

        edit(on, flags.RECOMMENDATIONS, state="DISABLED")
        assert affected(on, 2) >= 0.8

        with on.servers.primary.connect() as rescuer:
            rescuer.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {LOOPS}")
        wait.until(lambda: not monitor.read(on.alarms)[-1].raised, 60, "the alarm is over")
        for percent in (25, 50, 100):
            edit(on, flags.READS_FROM, targeting={"fractional": [["standby", percent], ["primary", 100 - percent]]})
            assert affected(on, 1) < 0.01
