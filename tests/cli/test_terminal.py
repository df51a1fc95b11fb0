"""A person at a terminal: asked, answered, interrupted, and left with a terminal that works."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.pseudo_terminal import CTRL_C, at_terminal
from tests.cli.shell import FLAGS, GOOD, PATIENCE, dr, flags_off, journal, locked, started, types, until, write

RUN = ("run", "good.yaml", "--env", "shop")
ASKING = GOOD.replace(
    "steps:\n",
    "steps:\n"
    '  - {id: sure, kind: operator.confirm, with: {question: "Is it the search?"}}\n'
    '  - {id: surely, kind: operator.confirm, with: {question: "Really the search?"}}\n',
)
FAILING = GOOD.replace("${feature}", "[/offers]") + "    retry: {attempts: 1}\n"


def test_the_run_begins_after_a_yes_only(folder: Path) -> None:
    with at_terminal(folder, *RUN) as terminal:
        terminal.see("Carry this out on shop? [y/N]:")
        terminal.type("n\n")
        assert terminal.end() == 130
    assert "Nothing was done." in terminal.shown
    assert not (folder / "journal").exists()
    with at_terminal(folder, *RUN) as terminal:
        terminal.see("Carry this out on shop? [y/N]:")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert flags_off(folder) == {"search"}
    assert terminal.cursor_is_visible()


def test_what_a_target_says_does_not_steer_the_terminal(folder: Path) -> None:
    write(folder, {"flags.json": FLAGS.replace('"defaultVariant": "on"', r'"defaultVariant": "\u001b[2J"')})
    with at_terminal(folder, "plan", "good.yaml", "--env", "shop", "--look") as terminal:
        assert terminal.end() == 0
    assert r"variant: \x1b[2J" in terminal.shown
    assert "\x1b" not in terminal.shown


@pytest.mark.parametrize("command", [("runs",), ("audit", "verify", "--all"), ("audit", "show", "--all")], ids=" ".join)
def test_what_a_run_from_elsewhere_is_called_does_not_steer_the_terminal(
    command: tuple[str, ...], folder: Path
) -> None:
    """Of the output that is no terminal, click itself takes control sequences away."""
    dr(folder, *RUN, "--yes")
    [run] = (folder / "journal" / "runs").iterdir()
    run.rename(run.with_name(f"{run.name}\x1b[2J\nother: verified"))
    with at_terminal(folder, *command) as terminal:
        terminal.end()
    assert r"\x1b[2J\nother: verified" in terminal.shown
    assert "\x1b" not in terminal.shown.replace("\x1b[31m\x1b[1merror\x1b[0m", "")


def test_every_question_is_answered_on_the_terminal(folder: Path) -> None:
    write(folder, {"good.yaml": ASKING})
    with at_terminal(folder, *RUN, "--yes") as terminal:
        terminal.see("  Is it the search?\r\n  yes       go on")
        terminal.see("Your answer:")
        terminal.type("maybe\n")
        terminal.see("'maybe' is no answer; the answers are yes, skip, rollback, abort")
        terminal.type("yes\n")
        terminal.see("  Really the search?\r\n  yes       go on")
        terminal.see("Your answer:")
        terminal.type("yes\n")
        assert terminal.end() == 0
    assert types(folder).count("operator-answered") == 2


def test_a_step_is_left_out_with_a_reason_only(folder: Path) -> None:
    """The name of the flag would be an instruction to whoever draws it unread."""
    write(folder, {"good.yaml": FAILING})
    with at_terminal(folder, *RUN, "--yes") as terminal:
        terminal.see("has no flag '[/offers]'")
        terminal.see("Your answer:")
        terminal.type("skip\n")
        terminal.see("Why is it left out?")
        terminal.type("\n")
        terminal.see("Why is it left out?")
        terminal.type("no such flag\n")
        assert terminal.end() == 0
    assert {"choice": "skip", "comment": "no such flag"}.items() <= journal(folder)[-2].items()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_ctrl_c_at_a_question_leaves_it_open(term: str, folder: Path) -> None:
    write(folder, {"good.yaml": ASKING})
    with at_terminal(folder, *RUN, "--yes", term=term) as terminal:
        terminal.see("Your answer:")
        terminal.type(CTRL_C)
        assert terminal.end() == 5
    assert terminal.cursor_is_visible()
    assert types(folder)[-1] == "paused"
    assert dr(folder, "answer", "latest", "yes").status == 5


def test_ctrl_c_stops_at_the_next_safe_point(folder: Path) -> None:
    with at_terminal(folder, *RUN, "--yes") as terminal:
        with locked(folder / "flags.json"):
            terminal.see("applying")
            terminal.type(CTRL_C)
            terminal.see("SIGINT: stopping at the next safe point")
        assert terminal.end() == 6
    assert terminal.cursor_is_visible()
    assert types(folder)[-1] == "run-stopped"


def test_a_second_ctrl_c_leaves_at_once_and_leaves_the_terminal_in_order(folder: Path) -> None:
    with locked(folder / "flags.json"), at_terminal(folder, *RUN, "--yes") as terminal:
        terminal.see("applying")
        terminal.type(CTRL_C)
        terminal.see("SIGINT: stopping at the next safe point")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
    assert "left at once" in terminal.shown
    assert terminal.cursor_is_visible()
    assert types(folder)[-1] == "apply-started"
    assert dr(folder, "resume", "latest").status == 0
    assert flags_off(folder) == {"search"}


def test_sigterm_counts_as_a_ctrl_c(folder: Path) -> None:
    with started(folder, *RUN, "--yes", stderr=subprocess.PIPE) as process:
        with locked(folder / "flags.json"):
            until(lambda: "apply-started" in types(folder))
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 6
        assert process.stderr is not None
        assert b"SIGTERM: stopping at the next safe point" in process.stderr.read()


def test_a_resume_shows_what_was_done_before(folder: Path) -> None:
    write(
        folder,
        {
            "good.yaml": GOOD.replace("feature}", "feature}")
            + FAILING[FAILING.index("  - id") :].replace("id: off", "id: next")
        },
    )
    assert dr(folder, *RUN, "--yes").status == 5
    [run] = [path.name for path in folder.glob("journal/runs/*")]
    with at_terminal(folder, "resume", "latest") as terminal:
        terminal.see("QUESTION")
        assert f"run {run} " in terminal.shown, "which run `latest` is"
        assert re.search(r"off +\x1b\[[0-9;]*m?done|off +done", terminal.shown.replace("\x1b[0m", ""))
        terminal.type(CTRL_C)
        assert terminal.end() == 5


def test_colour_is_left_out_where_it_is_not_wanted(folder: Path) -> None:
    write(folder, {"good.yaml": FAILING})
    coloured = re.compile(r"\x1b\[(\d+;)*(3[0-7]|9[0-7])(;\d+)*m")
    for more, wanted in (({}, True), ({"NO_COLOR": "1"}, False)):
        with at_terminal(folder, *RUN, "--yes", more=more) as terminal:
            terminal.see("Your answer:")
            terminal.type(CTRL_C)
            assert terminal.end() == 5
        assert dr(folder, "answer", "latest", "abort").status == 7
        assert bool(coloured.search(terminal.shown)) == wanted
        assert "failed" in terminal.shown


def test_input_that_is_no_text_is_no_answer(folder: Path) -> None:
    write(folder, {"good.yaml": ASKING, "flags.json": FLAGS})
    with at_terminal(folder, *RUN, "--yes") as terminal:
        terminal.see("Your answer:")
        terminal.type("\udcff\n".encode("utf-8", "surrogateescape").decode("latin-1"))
        terminal.see("is no answer")
        terminal.type(CTRL_C)
        assert terminal.end() == 5
