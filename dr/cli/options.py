"""Options that several commands share."""

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dr.audit.journal import LocalBook
from dr.environment import FILE, load_config
from dr.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=FILE,
        envvar="DR_CONFIG",
        show_default=True,
        show_envvar=True,
        help="Where the environments are declared.",
    )(command)


def journal_option(command: F) -> F:
    return click.option(
        "--journal",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="DR_JOURNAL",
        show_envvar=True,
        help="Directory of the journal; by default the one dr.toml names.",
    )(command)


def book(config: Path, journal: Path | None) -> LocalBook:
    """The journal: the directory that was named, else the one of `dr.toml`."""
    if journal is not None:
        return LocalBook(journal.absolute())
    return LocalBook(load_config(config).journal_directory.absolute())


def parameters(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`-p name=value`, as a mapping."""
    del ctx, option
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-p takes NAME=VALUE, not {text!r}", stands="nothing was touched")
        if name in found:
            raise UsageError(f"the parameter {name!r} is given twice", stands="nothing was touched")
        found[name] = value
    return found


def actor() -> str:
    """Who is at the keyboard, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
