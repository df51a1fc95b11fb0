"""The person (or the program) in front of a run: who is asked, who is shown, and how Ctrl-C is heard."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Protocol

import click

from dr.cli.options import as_typed_here
from dr.cli.streams import STDERR, STDOUT, complain, paint, silence, tell
from dr.core import events as e
from dr.report.words import choice_lines, clock, printable, sentence
from dr.world import Answer

STOPPING = "stopping at the next safe point; once more leaves at once (both can be resumed)"
LEFT = "left at once; `dr runs` lists the run, `dr resume` goes on from what is in the journal"
SHOW_CURSOR = "\x1b[?25h"
LISTEN_EVERY = 0.2
"""Seconds between two chances for a signal to be heard while an answer is waited for."""
SAY_EVERY = 1.0
"""Seconds between two lines of progress of a step."""


class Plain:
    """One line per entry: for logs, pipes, and people without a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._said: dict[str, tuple[str, float]] = {}

    def recorded(self, entries: Sequence[e.Entry]) -> None:
        elapsed = f"+{time.monotonic() - self._started:6.1f}s"
        tell("\n".join(_line(entry, elapsed) for entry in entries))

    def say(self, step: str, text: str) -> None:
        """What is happening: once, and no more than a line every `SAY_EVERY` seconds for each step."""
        now = time.monotonic()
        text_before, when = self._said.get(step, ("", -SAY_EVERY))
        if text != text_before and now - when >= SAY_EVERY:
            self._said[step] = (text, now)
            tell(f"{'':10}  {'':8}  {step}: … {printable(text)}")


def _line(entry: e.Entry, elapsed: str) -> str:
    event = entry.event
    # A question itself is the last thing said.
    words = f"paused on {event.question.step}" if isinstance(event, e.Paused) else sentence(event)
    line = f"{clock(entry.at)}  {elapsed}  {words}"
    return f"{begun(entry)}\n{line}" if isinstance(event, e.RunStarted | e.RunResumed) else line


def begun(entry: e.Entry) -> str:
    """The first thing said of a run, for it may have been called `latest`: its name, and what to type after a crash."""
    return f"run {entry.run}   (should this process die: {as_typed_here(f'dr resume {entry.run}')})"


class Json:
    """Each entry as the line that stands in the journal."""

    def recorded(self, entries: Sequence[e.Entry]) -> None:
        tell("\n".join(e.encode_entry(entry).decode() for entry in entries))

    def say(self, step: str, text: str) -> None:
        """Only entries go to a machine."""


class Screen(Protocol):
    """A picture on the terminal that is drawn again and again."""

    def suspended(self) -> contextlib.AbstractContextManager[None]:
        """Take it away while a question is asked."""
        ...

    def notice(self, text: str) -> None:
        """Show a line for the operator from now on. Called from a signal handler."""
        ...


class Keyboard:
    """Ctrl-C and the operator's answers.

    The first Ctrl-C asks the run to stop at the next safe point, the second one leaves at once; both leave a run that
    can be resumed. SIGTERM counts as a Ctrl-C, and so does SIGHUP: the terminal has gone. (Under nohup that is ignored,
    and stays so.)
    """

    def __init__(self, *, interactive: bool) -> None:
        self.stop = threading.Event()
        self._interactive = interactive
        self._asking = False
        self._given: Answer | None = None
        self._screen: Screen | None = None

    def give(self, answer: Answer) -> None:
        """The answer to the first question, from the command line."""
        self._given = answer

    def share(self, screen: "Screen") -> None:
        """The terminal has a picture on it: speak to the operator through that."""
        self._screen = screen

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle Ctrl-C and SIGTERM within the block."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._heard) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ask(self, question: e.Question) -> Answer | None:
        """`dr.world.Operator`: the given answer, else the person on the terminal, else nobody."""
        if self._given is not None:
            answer, self._given = self._given, None
            if answer.choice in question.choices:
                return answer
        if not self._interactive:
            return None
        with self._screen.suspended() if self._screen else contextlib.nullcontext():
            return self._on_terminal(question)

    def _on_terminal(self, question: e.Question) -> Answer | None:
        complain(f"\n{paint('QUESTION', sys.stderr, bold=True)}  {printable(question.text)}")
        for line in choice_lines(question):
            complain(line)
        self._asking = True
        try:
            choice = comment = ""
            while choice not in question.choices:
                if choice:
                    complain(f"{printable(choice)!r} is no answer; the answers are {', '.join(question.choices)}")
                choice = self._typed("Your answer: ")
            while choice == "skip" and not comment:
                comment = self._typed("Why is it left out? (goes into the journal): ")
        except EOFError:
            complain("")
            return None
        finally:
            self._asking = False
        return Answer(choice, comment)

    def _typed(self, prompt: str) -> str:
        """A line from the terminal. Raises EOFError when there will be none, or when the operator asked to stop.

        Not input(): a Ctrl-C that comes right before its read is heard only after the next key.
        """
        click.echo(prompt, nl=False, err=True)
        while not select.select([sys.stdin], [], [], LISTEN_EVERY)[0]:
            if self.stop.is_set():
                raise EOFError
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.strip()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            silence(STDOUT, STDERR)
        if self.stop.is_set():
            # Not sys.exit: a worker in a dead target must not delay this, and there is nothing to clean up that a crash
            # would not leave behind as well.
            cursor = SHOW_CURSOR if self._screen else ""
            os.write(STDERR, f"{cursor}\n{LEFT}\n".encode())
            os._exit(130)
        self.stop.set()
        if self._asking:  # the question is taken back within LISTEN_EVERY; that says enough
            return
        text = f"{signal.Signals(number).name}: {STOPPING}"
        if self._screen is not None:
            self._screen.notice(text)
        else:  # not sys.stderr: what the signal interrupted may be writing to it
            os.write(STDERR, f"\n{text}\n".encode())


def is_terminal() -> bool:
    """Whether a person can be asked and shown things."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def can_draw() -> bool:
    """Whether the terminal is one on which a picture can be drawn again and again."""
    return is_terminal() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}
