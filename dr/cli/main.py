"""The command group and its one error boundary.

Commands are loaded when they are called: `dr --help` and completion import click and nothing else.
"""

import gc
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from dr import __version__
from dr.cli.streams import STDOUT, complain, paint, prepare, silence
from dr.errors import Aborted, Deviated, DrError, NeedsOperator, RolledBack, Stopped, exit_statuses

COMMANDS = {
    "check": ("dr.cli.checking", "Check a runbook; every error with file:line:column."),
    "plan": ("dr.cli.planning", "Show what a runbook would do, and touch nothing."),
    "run": ("dr.cli.running", "Execute a runbook."),
    "resume": ("dr.cli.running", "Go on with a run that was stopped, paused or killed."),
    "rollback": ("dr.cli.running", "Undo what a run has applied, in reverse order."),
    "answer": ("dr.cli.running", "Answer the question a run is paused on, and go on."),
    "runs": ("dr.cli.reading", "List the runs in the journal, newest last."),
    "show": ("dr.cli.reading", "Show where a run stands and what happened in it."),
    "audit": ("dr.cli.auditing", "Verify and read the journal, and hand over the evidence."),
    "kinds": ("dr.cli.checking", "List the kinds of steps and of targets, and what each takes."),
    "schema": ("dr.cli.checking", "Print the JSON Schema of runbooks, for editors."),
    "demo": ("dr.cli.demo", "Recreate the outage of 15 May 2023 with real parts, and recover it."),
}

# How a run can end or stand that is no error of anybody: a question is a question, also at three in the morning.
_OUTCOMES = (Deviated, RolledBack, NeedsOperator, Stopped, Aborted)


class Commands(click.Group):
    """Knows its commands by name and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib  # only for a mistyped command

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command {name!r}.{f' Did you mean {close[0]!r}?' if close else ''}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader has gone (`dr runs | head`), and has seen what it wanted
            silence(STDOUT)
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit statuses"):
            formatter.write_dl([(f"{status:3} {code}", meaning) for status, code, meaning in exit_statuses()])
        with formatter.section("Examples"):
            formatter.write_dl(
                [
                    ("dr demo", "see it work"),
                    ("dr plan runbooks/database-overload.yaml --env production", "what would be done"),
                    ("dr run runbooks/database-overload.yaml --env production", "do it"),
                    ("dr resume latest", "go on after a crash"),
                ]
            )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="dr")
def cli() -> None:
    """Execute recovery runbooks: recorded before every effect, resumable after a crash, provable afterwards."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """The process: runs a command and turns every error into words and an exit status."""
    prepare()
    given: dict[str, str] = {}  # filled by `dr.cli.options.told_again`
    try:
        status: Any = cli.main(args=args, prog_name="dr", standalone_mode=False, obj=given)
    except click.exceptions.Exit as leave:
        status = leave.exit_code
    except click.Abort:
        complain("Nothing was done.")
        status = 130
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except DrError as error:
        say_error(error, given)
        status = error.exit_status
    except OSError as error:
        silence(STDOUT)  # the disk of the output may be what is full, and Python would find out again when it ends
        say_error(_refused(error), given)
        status = DrError.exit_status
    except Exception as error:  # noqa: BLE001 - the second of the two broad boundaries: no traceback for anything a user can cause
        say_error(_internal(error), given)
        status = DrError.exit_status
    gc.freeze()  # Python would look through everything for garbage once more before it ends: 3 ms of each command
    sys.exit(status if isinstance(status, int) else 0)


def say_error(error: DrError, given: Mapping[str, str]) -> None:
    """What happened, what stands now, and what to type next with the options that were given, on standard error."""
    from dr.cli.options import as_typed
    from dr.report.words import printable  # knows events and plans: only when there is something to say

    code = f"[{error.code}]"
    if isinstance(error, _OUTCOMES):
        head = paint(code, sys.stderr, fg="yellow", bold=True)
    else:
        head = f"{paint('error', sys.stderr, fg='red', bold=True)} {code}"
    what = "\n".join(map(printable, error.what.split("\n")))
    complain(f"{head} {what}")
    if error.stands:
        complain(f"stands: {error.stands}")
    if error.hint:
        complain(f"next:   {as_typed(error.hint, given)}")


def _refused(error: OSError) -> DrError:
    place = f"{error.filename}: " if error.filename else ""
    return DrError(
        f"the system refused: {place}{error.strerror or error}",
        stands="what is in the journal is safe",
        hint="dr runs   (and `dr resume RUN` for a run that has not ended)",
    )


def _internal(error: Exception) -> DrError:
    import traceback  # only for a defect

    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
    return DrError(
        f"{type(error).__name__} at {place}: {error}",
        stands="a defect of dr; what is in the journal is safe",
        hint="dr runs   (and `dr resume RUN` for a run that has not ended)",
    )
