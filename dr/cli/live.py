"""A run on a terminal: every step with how it stands, and the elapsed time against the recovery time objective."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dr.cli.terminal import begun
from dr.core import events as e
from dr.core.plan import STEADY_STATE, Plan
from dr.report.words import clock, sentence

# Each standing has a word and a sign; the colour only repeats what they say.
_STYLES = {
    "waiting": ("·", "dim"),
    "looking": ("…", "cyan"),
    "applying": ("▶", "cyan bold"),
    "done": ("✔", "green"),
    "skipped": ("-", "yellow"),
    "again": ("↻", "yellow"),
    "failed": ("✘", "red bold"),
    "in doubt": ("?", "red bold"),
    "undoing": ("◀", "cyan bold"),
    "undone": ("↩", "green"),
    "asked": ("?", "yellow bold"),
}
MOST_ROWS = 20
"""Steps shown at once; of a longer plan, those around the one being worked on."""


class Live:
    """A `dr.engine.Watcher` for a person on a terminal."""

    def __init__(self, plan: Plan, since: float | None) -> None:
        self._plan = plan
        self._since = time.time() if since is None else since
        self._standing: dict[str, str] = {}
        self._detail: dict[str, str] = {}
        self._order = [step.id for step in plan.steps()] + ([STEADY_STATE] if plan.steady_state else [])
        self._latest = self._order[0]
        self._console = Console()
        self._live = RichLive(console=self._console, refresh_per_second=8, get_renderable=self._picture, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._console.print(self._steps(all_rows=True))

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Take the picture away while a question is asked."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def entry(self, entry: e.Entry) -> None:
        event = entry.event
        step = STEADY_STATE if isinstance(event, e.HealthObserved) else getattr(event, "step", None)
        standing = _standing(event)
        if isinstance(event, e.Paused):
            step, standing = event.question.step, "asked"
        if step is not None and standing is not None:
            self._standing[step] = standing
            self._detail[step] = sentence(event).removeprefix(f"{step}: ")
            self._latest = step
        elif step is None:
            if isinstance(event, e.RunStarted):
                self._live.console.print(begun(entry), highlight=False, markup=False, soft_wrap=True)
            self._live.console.print(Text(f"{clock(entry.at)}  {sentence(event)}", style="dim"))

    def say(self, step: str, text: str) -> None:
        self._detail[step] = text
        if self._standing.get(step, "waiting") in ("waiting", "again"):
            self._standing[step] = "looking"
        self._latest = step

    def _picture(self) -> RenderableType:
        elapsed = time.time() - self._since
        goal = self._plan.objectives.rto
        line = Table.grid(padding=(0, 1))
        if goal is None:
            line.add_row(f"elapsed {elapsed:.1f} s")
        else:
            late = elapsed > goal
            bar = ProgressBar(total=float(goal), completed=min(elapsed, float(goal)), width=30)
            words = f"elapsed {elapsed:.1f} s of RTO {goal}" + (" - MISSED" if late else "")
            line.add_row(bar, Text(words, style="red bold" if late else ""))
        return Group(self._steps(all_rows=False), line)

    def _steps(self, *, all_rows: bool) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=not all_rows)
        rows = self._order
        if not all_rows and len(rows) > MOST_ROWS and self._latest in rows:
            first = max(0, min(rows.index(self._latest) - MOST_ROWS // 2, len(rows) - MOST_ROWS))
            rows = rows[first : first + MOST_ROWS]
        for step in rows:
            standing = self._standing.get(step, "waiting")
            sign, style = _STYLES[standing]
            table.add_row(Text(sign, style=style), step, Text(standing, style=style), self._detail.get(step, ""))
        return table


def _standing(event: e.Event) -> str | None:
    """The word for how a step stands after the event; None: it does not tell."""
    match event:
        case e.ApplyStarted():
            return "applying"
        case e.AttemptFailed(not_before=later) | e.UndoFailed(not_before=later):
            return "again" if later else "failed"
        case e.StepUnseen():
            return "in doubt"
        case e.StepDone():
            return "done"
        case e.StepSkipped():
            return "skipped"
        case e.UndoStarted():
            return "undoing"
        case e.StepUndone():
            return "undone"
        case e.HealthObserved(well=well):
            return "done" if well else "failed"
        case _:
            return None
