"""The outage of 15 May 2023, from the morning before it to the report after it."""

import os
import time
from functools import partial
from pathlib import Path

from dr.bind import bind
from dr.demo import flags, monitor, recovery, stage, summary, timeline, traffic, wait
from dr.demo.load import RATE
from dr.demo.orchestrator import STANDS, Orchestrator
from dr.demo.screen import Screen
from dr.demo.stage import Stage
from dr.demo.timeline import Observed
from dr.demo.workspace import CommandFailed, Workspace
from dr.errors import Deviated, PartMissing, PreconditionFailed, UsageError
from dr.load import read

NORMAL = 3.0  # seconds of an ordinary morning
AFTERWARDS = 2.0  # seconds watched after the recovery
LIMIT = 60.0  # seconds for the monitoring to notice; it takes two


def play(kill: str | None, reports: Path) -> None:
    """Let the outage happen, let `dr` recover from it, and tell how it went.

    Args:
        kill: a step of the runbook in which `dr` is killed, to be resumed by a second one.
        reports: the folder in which the report's folder is made.

    Raises:
        UsageError: there is no such step, or the folder cannot be written.
        PreconditionFailed: a part did not start.
        Deviated: it did not go as the demo says it does.
    """
    runbook = find_runbook()
    plan = bind(read(runbook), None, {})
    recovery.check_step(plan, kill)
    check_writable(reports)
    screen = Screen()
    screen.title("The outage of 15 May 2023, with real parts")
    with Workspace() as workspace:
        with screen:
            on = set_up(workspace, screen)
            orchestrator = Orchestrator(workspace, on)
            normal, released, detected = break_down(on, screen)
            recovery.recover(orchestrator, screen, plan, runbook, kill=kill, detected=detected)
            over = time.time() + AFTERWARDS
            wait.until(lambda: time.time() > over + traffic.SLOW, LIMIT, "the visitors after the recovery")
        observed = Observed(normal, released, detected, over)
        summary.tell(screen, orchestrator, plan, traffic.read(on.traffic), observed, reports=reports)


def find_runbook() -> Path:
    """The runbook of the incident, in the project's folder. Raises PartMissing."""
    path = Path(__file__).parent.parent.parent / recovery.RUNBOOK
    if not path.exists():
        raise PartMissing(
            f"{path} is not there", stands="nothing was started", hint="run the demo from a clone of the project"
        )
    return path


def check_writable(folder: Path) -> None:
    """Raise UsageError if the folder cannot be made or written: better now than after the outage."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise UsageError(
            f"{folder} cannot be written", stands="nothing was started", hint="name another: --report FOLDER"
        )


def set_up(workspace: Workspace, screen: Screen) -> Stage:
    """Start all parts."""
    began = time.monotonic()
    try:
        on = stage.build(workspace)
    except (CommandFailed, wait.WaitExpired) as failed:
        raise PreconditionFailed(f"not all parts of the demo started: {failed}", stands=STANDS) from failed
    screen.say(
        "started",
        f"PostgreSQL {on.servers.primary.version()}, primary and streaming standby; a web shop; its monitoring; "
        f"{RATE:g} visitors a second  ({time.monotonic() - began:.1f} s)",
    )
    screen.watch(partial(traffic.read, on.traffic))
    return on


def break_down(on: Stage, screen: Screen) -> tuple[float, float, float]:
    """The morning, the release, and the alarm: when each of them was (Unix time)."""
    normal = time.time()
    wait.until(lambda: time.time() > normal + NORMAL + traffic.SLOW, LIMIT, "an ordinary morning")
    affected, visitors = traffic.read(on.traffic).counted(normal, normal + NORMAL)
    screen.say("normal", f"{affected} of {visitors} visitors affected")

    released = time.time()
    flags.release(on.flags, flags.RECOMMENDATIONS)
    screen.mark(timeline.RELEASED, released)
    screen.say("released", f"the feature `{flags.RECOMMENDATIONS}`, with the loop that never stops querying", "yellow")

    try:
        wait.until(lambda: any(alarm.raised for alarm in monitor.read(on.alarms)), LIMIT, "the alarm")
    except wait.WaitExpired as expired:
        raise Deviated(f"the outage did not happen: {expired}", stands=STANDS) from expired
    alarm = monitor.read(on.alarms)[0]
    screen.mark(timeline.ALARM, alarm.at)
    screen.detected = alarm.at
    met = ", ".join(f"{count} x {what}" for what, count in alarm.seen.items() if what != "ok")
    screen.say("ALARM", f"{alarm.failing:.0%} of the monitoring's latest probes fail ({met})", "bold red")
    return normal, released, alarm.at
