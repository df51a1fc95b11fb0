"""A figure over time as a few lines of text."""

import math
from collections.abc import Mapping, Sequence
from string import ascii_lowercase

HEIGHT = 6
BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "  ..::##"
GUTTER = 7  # columns before the plot: the axis with its labels


def lines(shares: Sequence[float], marks: Mapping[str, int], *, ascii_only: bool = False) -> list[str]:
    """A bar for each share (0 to 1), and below them a letter for each mark.

    Args:
        shares: one column each.
        marks: what happened, with the column in which it did, in the order of time.
        ascii_only: for a terminal that shows nothing else.
    """
    blocks, corner, across, down = (ASCII_BLOCKS, "+", "-", "|") if ascii_only else (BLOCKS, "└", "─", "│")
    picture = []
    for row in reversed(range(HEIGHT)):
        label = {HEIGHT - 1: "100%", HEIGHT // 2 - 1: "50%", 0: "0%"}.get(row, "")
        picture.append(f"{label:>5} {down}" + "".join(block(share, row, blocks) for share in shares).rstrip())
    columns = spread(list(marks.values()))
    width = max([len(shares), *(column + 1 for column in columns)])
    axis, letters = [across] * width, [" "] * width
    for column, letter in zip(columns, ascii_lowercase, strict=False):
        axis[column], letters[column] = ("+" if ascii_only else "┴"), letter
    return [*picture, " " * (GUTTER - 1) + corner + "".join(axis), " " * GUTTER + "".join(letters).rstrip()]


def block(share: float, row: int, blocks: str) -> str:
    """The character of a bar in one row. What is not zero shows at least a little in the lowest."""
    filled = min(max(share * HEIGHT - row, 0.0), 1.0) * (len(blocks) - 1)
    return blocks[math.ceil(filled) if row == 0 else round(filled)]


def spread(columns: Sequence[int]) -> list[int]:
    """The same columns, each moved right until it is alone."""
    free = 0
    found = []
    for column in columns:
        found.append(max(column, free))
        free = found[-1] + 1
    return found


def legend(marks: Mapping[str, int]) -> list[str]:
    """What each letter stands for."""
    return [f"{letter} {what}" for letter, what in zip(ascii_lowercase, marks, strict=False)]
