"""How it went: on the screen, and as a folder to keep."""

from pathlib import Path

from dr.audit.book import LocalBook
from dr.core.plan import Plan
from dr.demo import timeline
from dr.demo.orchestrator import STANDS, Orchestrator
from dr.demo.screen import Screen
from dr.demo.timeline import Observed
from dr.demo.traffic import Traffic
from dr.errors import Deviated
from dr.report.exhibit import Exhibits, Mark, Series
from dr.report.folder import write_report


def tell(
    screen: Screen, orchestrator: Orchestrator, plan: Plan, traffic: Traffic, seen: Observed, *, reports: Path
) -> None:
    """Show what happened and verify the journal; the report goes into a folder of its own in `reports`.

    Raises:
        Deviated: it did not go as the demo says it does.
    """
    stored = LocalBook(orchestrator.journal).find("latest")
    at = timeline.moments(stored.entries(), plan)
    phases = timeline.phases(traffic, seen, at)
    hold = str(plan.steady_state.params["hold"]) if plan.steady_state else "0s"
    tables = (timeline.comparison(seen, at, phases[2], hold), timeline.visits(phases))
    marks = timeline.marks(seen, at)
    for table in tables:
        screen.title(table.title)
        screen.table(table)
    screen.title("Visitors affected over time (each column is half a second)")
    screen.plot(traffic, seen.normal, seen.over, marks)

    folder = reports / stored.run
    series = Series(
        title="Visitors affected",
        unit="%",
        points=tuple((start, 100 * share) for start, share in timeline.bins(traffic, seen.normal, seen.over)),
        until=seen.over,
        top=100.0,
        marks=tuple(Mark(at=moment, label=what) for what, moment in marks.items()),
        how=tables[1].how,
    )
    write_report(folder, stored, Exhibits(series=(series,), comparisons=tables))
    screen.command(f"dr audit verify {stored.run} --journal {folder}")
    screen.say("", orchestrator.verify(stored.run, folder).removeprefix(f"{stored.run}: "))
    screen.say("report", str(folder / "report.html"))

    missed = [phase for phase in phases if not phase.as_claimed]
    if missed:
        told = "; ".join(f"{phase.name}: {phase.share:.1%} of the visitors affected" for phase in missed)
        raise Deviated(
            f"the demo did not go as it claims: {told}",
            stands=f"{STANDS}; the report is in {folder}",
            hint="a machine that is busy otherwise is the usual reason; run it again",
        )
    took = at.recovered - seen.detected
    screen.title(f"Recovered {took:.1f} s after the alarm. On 15 May 2023 it took an hour.", "bold green")
