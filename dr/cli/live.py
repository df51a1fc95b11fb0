"""A run on a terminal: every step with how it stands, and the elapsed time against the recovery time objective."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from dr.core.timestamp import parse_iso
from dr.report.words import clock, printable, sentence

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
_ANSWERED: Mapping[e.Choice, str] = {"retry": "waiting", "yes": "waiting", "done": "done", "skip": "skipped"}
MOST_ROWS = 20
"""Steps shown at once; of a longer plan, those around the one being worked on."""
BESIDE = 4
"""Lines of the terminal that are kept free for the elapsed time, a message and the cursor."""
WORD = max(map(len, _STYLES))
"""Width of the longest standing."""
WIDE = 60
"""Columns from which there is room for a bar beside the words."""
AT_A_QUESTION = 5
"""Steps that stay on the screen while a question is asked."""


class Live:
    """A `dr.world.Watcher` and a `dr.cli.terminal.Screen` for a person on a terminal."""

    def __init__(self, plan: Plan, since: str, past: Iterable[e.Entry]) -> None:
        """`since` is when the recovery time began, if not with the run; `past` is what has happened already."""
        self._plan = plan
        self._since = parse_iso(since) if since else time.time()
        self._standing: dict[str, str] = {}
        self._detail: dict[str, str] = {}
        self._order = [step.id for step in plan.steps()] + ([STEADY_STATE] if plan.steady_state else [])
        self._latest = self._order[0]
        self._asked = ""
        self._notice = ""
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = RichLive(console=self._console, refresh_per_second=8, get_renderable=self._picture, transient=True)
        for entry in past:
            if isinstance(entry.event, e.RunStarted):
                self._since = parse_iso(entry.event.detected or entry.at)
            self._happened(entry.event)
        for step, standing in self._standing.items():
            self._standing[step] = "in doubt" if standing in {"applying", "undoing"} else standing

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        begun_steps = [step for step in self._order if step in self._standing]
        if before := len(begun_steps[:-MOST_ROWS]):
            self._console.print(f"{before} steps before these")
        self._console.print(self._steps(begun_steps[-MOST_ROWS:], whole=True))
        if left := len(self._order) - len(begun_steps):
            self._console.print(f"{left} not begun")

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Make room for a question; what it is about stays in sight."""
        self._live.stop()
        self._console.print(self._steps(self._around(AT_A_QUESTION), whole=True))
        try:
            yield
        finally:
            self._live.start()

    def notice(self, text: str) -> None:
        """Show `text` below the steps from now on."""
        self._notice = text

    def recorded(self, entries: Sequence[e.Entry]) -> None:
        for entry in entries:
            if isinstance(entry.event, e.RunStarted | e.RunResumed):
                self._console.print(begun(entry), soft_wrap=True)
            if not self._happened(entry.event):
                self._console.print(Text(f"{clock(entry.at)}  {sentence(entry.event)}", style="dim"))

    def say(self, step: str, text: str) -> None:
        self._detail[step] = printable(text)
        if self._standing.get(step, "waiting") in {"waiting", "again"}:
            self._standing[step] = "looking"
        self._latest = step

    def _happened(self, event: e.Event) -> bool:
        """Note how a step stands after the event; False when it tells of none."""
        step, standing = _standing(event)
        if isinstance(event, e.OperatorAnswered):
            self._standing[self._asked] = _ANSWERED.get(event.choice, self._standing.get(self._asked, "asked"))
            self._detail[self._asked] = printable(event.comment)
            return False
        if isinstance(event, e.Paused):
            self._asked = step
        if not step:
            return False
        if standing:
            self._standing[step] = standing
            self._detail[step] = sentence(event).removeprefix(f"{step}: ").removeprefix(standing).lstrip(": ")
            self._latest = step
        return True

    def _picture(self) -> RenderableType:
        elapsed = time.time() - self._since
        goal = self._plan.objectives.rto
        parts: list[RenderableType] = [self._steps(self._around(min(MOST_ROWS, self._console.height - BESIDE)))]
        if goal is None:
            parts.append(Text(f"elapsed {elapsed:.1f} s"))
        else:
            late = elapsed > goal
            words = f"elapsed {elapsed:.1f} s of RTO {goal}" + (", MISSED" if late else "")
            line = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=float(goal), completed=min(elapsed, float(goal)), width=self._console.width // 4)
            told = Text(words, style="red bold" if late else "", no_wrap=True)
            line.add_row(*([bar, told] if self._console.width >= WIDE else [told]))
            parts.append(line)
        if self._notice:
            parts.append(Text(self._notice, style="yellow bold"))
        return Group(*parts)

    def _around(self, most: int) -> list[str]:
        """The steps around the one being worked on."""
        middle = self._order.index(self._latest) if self._latest in self._order else 0
        first = max(0, min(middle - most // 2, len(self._order) - most))
        return self._order[first : first + max(1, most)]

    def _steps(self, steps: list[str], *, whole: bool = False) -> Table:
        """The steps, a line each; with `whole`, as many lines as the details take."""
        width = self._console.width
        name = min(max(map(len, self._order)), width // 3)
        detail = max(1, width - 1 - name - WORD - 3)
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=1)
        table.add_column(width=name, no_wrap=True)
        table.add_column(width=WORD, no_wrap=True)
        table.add_column(width=detail, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
        for step in steps:
            standing = self._standing.get(step, "waiting")
            sign, style = _STYLES[standing]
            sign = sign if self._console.encoding.startswith("utf") else " "
            table.add_row(Text(sign, style), Text(step), Text(standing, style), Text(self._detail.get(step, "")))
        return table


def _standing(event: e.Event) -> tuple[str, str]:
    """The step the event tells of and the word for how it stands; empty where it does not tell."""
    step = getattr(event, "step", "")
    match event:
        case e.ApplyStarted():
            return step, "applying"
        case e.AttemptFailed(not_before=later) | e.UndoFailed(not_before=later):
            return step, "again" if later else "failed"
        case e.StepUnseen():
            return step, "in doubt"
        case e.StepDone():
            return step, "done"
        case e.StepSkipped():
            return step, "skipped"
        case e.UndoStarted():
            return step, "undoing"
        case e.StepUndone():
            return step, "undone"
        case e.Paused(question=question):
            return question.step, "asked"
        case e.HealthObserved(well=well):
            return STEADY_STATE, "done" if well else "failed"
        case _:
            return step, ""
