"""The standard streams, made safe: a run must not depend on whether anybody reads what it prints."""

import os
import sys
from io import TextIOWrapper
from typing import Any, Final, TextIO

import click

STDOUT: Final = 1
STDERR: Final = 2


def prepare() -> None:
    """Make sure that the standard streams are there, and that any text can be written to them and read.

    Where one was closed (`dr run >&-`) the next file to be opened would take its number, and a message to the operator
    would end up in the journal. A character that the terminal's encoding lacks stands there by its code.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(STDOUT, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w", encoding="utf-8")
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def display(*lines: str) -> None:
    """Lines for a person. None steers the terminal or looks like two: journals from elsewhere are read, too."""
    from dr.report.words import printable  # knows events and plans: not for every command

    click.echo("\n".join(map(printable, lines)))


def tell(text: str) -> None:
    """A line on standard output, at once. When nobody reads any more (`dr run | head`), a run goes on without saying.

    Not click.echo: it looks for colours to strip in each line, a third of the cost of a step without effects.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:
        silence(STDOUT)


def complain(text: str) -> None:
    """The same on standard error."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        silence(STDERR)


def paint(text: str, stream: TextIO, **style: Any) -> str:
    """`text` in colour where the stream is a terminal that shows it (no-color.org). The words never depend on it."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else click.style(text, **style)


def silence(*numbers: int) -> None:
    """Let go nowhere what is written to these streams from now on, and what Python still holds for them."""
    opened = os.open(os.devnull, os.O_WRONLY)
    for number in numbers:
        os.dup2(opened, number)
    os.close(opened)
