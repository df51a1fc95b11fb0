"""What the demo shows: a line for everything that happens, and on a terminal the visitors' fate while it happens."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dr.demo import plot, timeline
from dr.demo.traffic import SLOW, Traffic
from dr.report.exhibit import Comparison

MARGIN = 2
HEAD = 14  # columns before the text of a line
REFRESH = 4  # pictures a second


class Screen:
    """Lines on standard output; `with` it, and `watch` something, and a terminal also shows a plot that grows."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.detected: float | None = None
        self._marks: dict[str, float] = {}
        self._read: Callable[[], Traffic] | None = None
        self._live = Live(
            console=self.console, refresh_per_second=REFRESH, transient=True, get_renderable=self._picture
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def watch(self, read: Callable[[], Traffic]) -> None:
        """Show the traffic from now on."""
        self._read = read

    def mark(self, what: str, at: float) -> None:
        """Point at a moment in the plot that grows."""
        self._marks[what] = at

    def title(self, text: str, style: str = "bold") -> None:
        """A heading."""
        self.console.print()
        self.console.print(Text(text, style))
        self.console.print()

    def say(self, head: str, text: str, style: str = "") -> None:
        """A line: what it is about, and what there is to say."""
        self._line(Text(head, style or "dim"), Text(text))

    def step(self, at: float, text: str, style: str = "") -> None:
        """A line of the recovery, with the time since detection."""
        elapsed = "" if self.detected is None else f"+{at - self.detected:5.1f} s"
        self._line(Text(elapsed, "cyan"), Text(text, style))

    def affected_since(self, what: str) -> str:
        """How the visitors fared since a moment that was marked, in words."""
        affected, visitors = self._read().counted(self._marks[what], time.time() - SLOW) if self._read else (0, 0)
        return f"Since it is {what}, {affected} of {visitors} visitors were affected"

    def command(self, text: str) -> None:
        """A command that is typed."""
        self.console.print()
        self.console.print(Text.assemble(" " * MARGIN, ("$ ", "dim"), (text, "bold")), soft_wrap=True)

    def table(self, comparison: Comparison) -> None:
        """A table, and below it where its figures come from."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for number, column in enumerate(comparison.columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
        for row in comparison.rows:
            table.add_row(*map(Text, row))
        self.console.print(Padding(table, (0, 0, 0, MARGIN)))
        self.console.print()
        self.console.print(Padding(Text(comparison.how, style="dim"), (0, MARGIN)))

    def _line(self, head: Text, text: Text) -> None:
        """Head and text side by side: a long text is folded on a terminal, and stays one line in a file."""
        head.pad_left(MARGIN)
        head.truncate(HEAD, pad=True)
        if not self.console.is_terminal:
            self.console.print(head.append_text(text), soft_wrap=True)
            return
        line = Table.grid(padding=0)
        line.add_column(width=HEAD)
        line.add_row(head, text)
        self.console.print(line)

    def plot(self, traffic: Traffic, since: float, until: float, marks: Mapping[str, float]) -> None:
        """How many visitors were affected over time."""
        self.console.print(self._plot(traffic, since, until, marks))

    def _plot(self, traffic: Traffic, since: float, until: float, marks: Mapping[str, float]) -> RenderableType:
        room = self.console.width - 2 * MARGIN - plot.GUTTER
        bins = timeline.bins(traffic, max(since, until - room * timeline.BIN), until)
        if not bins:
            return Text()
        begin = bins[0][0]
        columns = {what: int((at - begin) / timeline.BIN) for what, at in marks.items() if at >= begin}
        rows = plot.lines([share for _, share in bins], columns, ascii_only=self.console.encoding != "utf-8")
        picture = Text("\n".join(rows))
        picture.highlight_regex(r"[▁-█#]+", "red")
        legend = Columns([Text(what, "dim") for what in plot.legend(columns)], padding=(0, MARGIN))
        return Group(Padding(picture, (0, MARGIN)), Padding(legend, (0, 0, 0, MARGIN)))

    def _picture(self) -> RenderableType:
        if self._read is None:
            return Text("  starting two databases, a shop, its visitors and its monitoring ...", style="dim")
        traffic = self._read()
        known = time.time() - SLOW  # whoever came later may still be served in time
        status = Text.assemble(("  visitors affected now: ", "dim"), f"{traffic.share(known - 1, known):4.0%}")
        if self.detected is not None:
            status.append("    since detection: ", "dim").append(f"{time.time() - self.detected:4.1f} s")
        return Group(Text(), self._plot(traffic, traffic.start, known, self._marks), status)
