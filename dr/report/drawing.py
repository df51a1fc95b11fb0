"""What the charts of a page are drawn with: inline SVG of one width, over one axis of time.

Colours, fonts and strokes are the style sheet's; here are places and words.
"""

from collections.abc import Iterable

from dr.report.axis import MINUTE, Axis, passed
from dr.report.markup import Html, element

LEFT, CHART, RIGHT = 180.0, 610.0, 802.0
WIDTH = 1080.0
CHARACTER = 6.2
"""About how wide a character is drawn."""
FLAG = 14.0
"""Height of a line of flags."""


def svg(label: str, height: float, *children: str) -> Html:
    """A drawing that fills the width of the page; `label` is for those who cannot see it."""
    return element("svg", *children, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=label)


def text(x: float, y: float, said: str, kind: str, room: float | None = None) -> Html:
    """Words whose baseline is at `y`; what does not fit into `room` is cut, and whole in the tooltip."""
    most = len(said) if room is None else max(1, int(room / CHARACTER))
    if len(said) <= most:
        return element("text", said, x=x, y=y, class_=kind)
    return element("text", element("title", said), said[: most - 1] + "…", x=x, y=y, class_=kind)


def upright(x: float, top: float, bottom: float, kind: str) -> Html:
    return element("line", x1=x, x2=x, y1=top, y2=bottom, class_=kind)


def grid(time: Axis, zero: float, top: float, bottom: float) -> Iterable[Html]:
    """Upright lines at round distances from `zero`, with the distance above each."""
    long = time.end - zero >= MINUTE
    for at in time.ticks(zero):
        yield upright(time.x(at), top, bottom, "grid")
        distance = round(at - zero, 3)  # seconds since 1970 hold no more digits than that for sure
        said = passed(distance).replace(".0", "") if long else f"{distance:.6g} s"
        yield text(time.x(at), top - 6, said, "scale middle")


def flags(moments: Iterable[tuple[float, str]], time: Axis, bottom: float) -> tuple[tuple[Html, ...], float]:
    """A line down to `bottom` at each moment, its word on top; the drawings, and the height the words take.

    `bottom` is measured from below the words. A word that would cover another goes one line further down.
    """
    taken: list[float] = []
    placed = []
    for at, word in sorted(moments):
        x, wide = time.x(at), len(word) * CHARACTER + 8
        left = x + 3 if x + wide < WIDTH else x - wide
        line = next((number for number, end in enumerate(taken) if end <= left), len(taken))
        taken[line : line + 1] = [left + wide]
        placed.append((x, left, line, word))
    height = FLAG * len(taken)
    drawn = []
    for x, left, line, word in placed:
        drawn += [upright(x, FLAG * line + 3, height + bottom, "moment"), text(left, FLAG * line + 11, word, "flag")]
    return tuple(drawn), height


def key(kind: str, words: str) -> Html:
    """An entry of a legend."""
    bar = element("rect", x=0, y=0, width=18, height=10, class_=kind)
    return element("span", element("svg", bar, viewBox="0 0 18 10", aria_hidden="true"), words, class_="key")
