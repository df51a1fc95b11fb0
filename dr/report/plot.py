"""A series as a step plot, over the axis of the Gantt chart."""

from dr.report.axis import Axis
from dr.report.drawing import LEFT, RIGHT, WIDTH, flags, grid, svg, text
from dr.report.exhibit import Series
from dr.report.markup import Html, element

TALL, SCALE = 140.0, 22.0
LEVELS = 4


def plot(series: Series, zero: float, time: Axis) -> Html:
    """The series with its marks."""
    values = [value for _, value in series.points]
    ceiling = series.top or max(values) or 1.0
    marks, above = flags(((mark.at, mark.label) for mark in series.marks), time, SCALE + TALL)
    top = above + SCALE
    bottom = top + TALL

    def y(value: float) -> float:
        return bottom - TALL * min(max(value / ceiling, 0.0), 1.0)

    steps = "".join(f"H{time.x(at):.1f}V{y(value):.1f}" for at, value in series.points) + f"H{time.x(series.until):.1f}"
    first = f"M{time.x(series.points[0][0]):.1f} "
    levels = [ceiling * number / LEVELS for number in range(LEVELS + 1)]
    return svg(
        f"{series.title}, in {series.unit}, over time",
        bottom + 8,
        *(element("line", x1=LEFT, x2=RIGHT - 12, y1=y(level), y2=y(level), class_="grid") for level in levels),
        *marks,
        *grid(time, zero, top, bottom),
        *(text(LEFT - 8, y(level) + 4, f"{level:g} {series.unit}", "scale end") for level in levels),
        text(0, y(ceiling) + 4, series.title, "name", LEFT - 70),
        element("path", d=f"{first}{bottom:.1f}{steps}V{bottom:.1f}Z", class_="area"),
        element("path", d=f"{first}{y(values[0]):.1f}{steps}", class_="curve"),
        text(RIGHT, top + 14, f"highest {max(values):.3g} {series.unit}", "told", WIDTH - RIGHT),
        text(RIGHT, top + 30, f"last {values[-1]:.3g} {series.unit}", "told", WIDTH - RIGHT),
    )
