"""Options that several commands share, and how they are told again in the commands that `dr` tells to type."""

import re
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from dr.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_READS_THE_JOURNAL: Final = re.compile(
    r"\bdr (?:runs|run|resume|rollback|answer|show|audit (?:verify|show|export|sign|sync))\b"
)


def told_again(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    """The callback of an option that says where things are: a command that is to be typed next needs it, too.

    An environment variable will still be set by then; so only what stood on the command line is kept, in `ctx.obj`.
    """
    if option.name and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
        ctx.ensure_object(dict)[option.opts[0]] = str(value)
    return value


def as_typed(text: str, given: Mapping[str, str]) -> str:
    """`text` with the `given` options in each command that reads the journal, so that it works as it stands there."""
    options = "".join(f" {name} {shlex.quote(value)}" for name, value in given.items())
    return _READS_THE_JOURNAL.sub(lambda command: command[0] + options, text) if options else text


def as_typed_here(text: str) -> str:
    """The same for what the command that is at work says."""
    return as_typed(text, click.get_current_context().ensure_object(dict))


run_argument = click.argument("run_name", metavar="RUN")


def config_option(command: F) -> F:
    return click.option(
        "--config",
        callback=told_again,
        type=click.Path(path_type=Path),
        default="dr.toml",
        envvar="DR_CONFIG",
        show_default=True,
        show_envvar=True,
        help="Where the environments are declared.",
    )(command)


def unsigned_option(command: F) -> F:
    return click.option(
        "--unsigned",
        metavar="REASON",
        default="",
        callback=utf8,
        help="Go without the signature that dr.toml asks for; the reason goes into the journal.",
    )(command)


def signers_option(command: F) -> F:
    return click.option(
        "--allowed-signers",
        "allowed_signers",
        metavar="FILE",
        type=click.Path(path_type=Path),
        envvar="DR_ALLOWED_SIGNERS",
        show_envvar=True,
        help="Whose signatures are accepted; by default the file dr.toml names.",
    )(command)


def parameters(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`-p name=value`, as a mapping."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = utf8(ctx, option, text).partition("=")
        if not equals:
            raise UsageError(f"-p takes NAME=VALUE, not {text!r}", stands="nothing was touched")
        if name in found:
            raise UsageError(f"the parameter {name!r} is given twice", stands="nothing was touched")
        found[name] = value
    return found


def utf8(ctx: click.Context, option: click.Parameter, text: str) -> str:
    """Text from the command line that goes into the journal, which is UTF-8."""
    del ctx
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        raise UsageError(f"{option.opts[0]} takes UTF-8 text, not {text!r}", stands="nothing was touched")
    return text


def instant(option: str, text: str) -> float:
    """The time an option names, in seconds since 1970. Without a zone it is the machine's local time."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} takes a time such as 2023-05-15T10:00:00-04:00, not {text!r}", stands="nothing was touched"
        ) from None
