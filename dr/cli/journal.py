"""Where the journal is: the options that say it, what an operator can rule about it, and the book that is opened."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from dr.audit.agreement import Rulings
from dr.audit.book import LocalBook
from dr.audit.here import Book, HereBook
from dr.audit.journal_spec import DIRECTORY, Places, place_of
from dr.cli.options import as_typed, told_again, utf8
from dr.cli.streams import complain
from dr.environment import Config, load_config
from dr.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

GIVEN = "dr.journal"
"""Where click's context keeps the options that are for `book`."""


def journal_option(command: F) -> F:
    """Where the journal is: its directory, and its home. All but the directory is for `book` alone."""
    for option in (
        click.option(
            "--journal",
            callback=told_again,
            type=click.Path(path_type=Path),
            envvar="DR_JOURNAL",
            show_envvar=True,
            help="Directory of the journal; by default the one dr.toml names. To read, it is the whole journal.",
        ),
        _for_book(
            "--home",
            callback=_give_again,
            metavar="URL",
            envvar="DR_HOME",
            show_envvar=True,
            help="The journal's home, s3://BUCKET/PREFIX, instead of the one dr.toml names.",
        ),
        _for_book(
            "--region",
            callback=_give_again,
            metavar="NAME",
            envvar="DR_REGION",
            show_envvar=True,
            help="Region of --home.",
        ),
        _for_book(
            "--endpoint",
            callback=_give_again,
            metavar="URL",
            envvar="DR_ENDPOINT",
            show_envvar=True,
            help="Endpoint of --home, if it is not AWS.",
        ),
    ):
        command = option(command)
    return command


def _without_home(command: F) -> F:
    return _for_book(
        "--without-home",
        metavar="REASON",
        default="",
        callback=_given_utf8,
        help="The journal's home cannot be reached: go on without it. Becomes an entry; delivered when it is back.",
    )(command)


def start_options(command: F) -> F:
    """What an operator can rule about the journal of a run that is started."""
    take_over = _for_book(
        "--take-over",
        is_flag=True,
        help="Nobody goes on with the run that has the environment: take that from it. Becomes an entry of both.",
    )
    return take_over(_without_home(command))


def resume_options(command: F) -> F:
    """What an operator can rule about the journal of a run that is gone on with."""
    take_over = _for_book(
        "--take-over", is_flag=True, help="The process that has the run is surely gone: take it. Becomes an entry."
    )
    trust = _for_book(
        "--trust",
        metavar="COPY",
        default="",
        callback=_given_utf8,
        help="Where copies of the journal differ, this is right: local, home or a mirror's URL. Becomes an entry.",
    )
    return take_over(trust(_without_home(command)))


def _for_book(*names: str, **settings: Any) -> Callable[[F], F]:
    """An option that `book` reads and no command."""
    return click.option(*names, expose_value=False, **{"callback": _give, **settings})


def _give(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    ctx.meta.setdefault(GIVEN, {})[option.name] = value


def _give_again(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    _give(ctx, option, told_again(ctx, option, value))


def _given_utf8(ctx: click.Context, option: click.Parameter, text: str) -> None:
    _give(ctx, option, utf8(ctx, option, text))


def book_to_read(config: Path, journal: Path | None) -> Book:
    """As `book`; but a directory that is named without a home is read alone: it may be a copy of any journal."""
    ctx = click.get_current_context()
    named = [ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("journal", "home")]
    if journal is not None and named == [True, False]:
        if not journal.exists():  # mistyped: a journal without runs would verify
            raise UsageError(f"there is no directory {journal.absolute()}", stands="nothing was touched")
        return HereBook(LocalBook(_checked(journal)))
    return book(config, journal)


def book(config: Path, journal: Path | None) -> Book:
    """The journal: its directory and its home are those that were named, else those of `dr.toml`."""
    given: Mapping[str, Any] = click.get_current_context().meta.get(GIVEN, {})
    declared = load_config(config) if config.exists() or not (journal or given.get("home")) else None
    directory = _checked(journal or (declared.journal_directory if declared else Path(DIRECTORY)))
    rulings = Rulings(**{name: given[name] for name in Rulings.__struct_fields__ if name in given})
    where = _places(given, declared)
    if where is None:
        if rulings.without_home or rulings.trust:
            raise UsageError("the journal has no home to go without, and no copies", stands="nothing was touched")
        return HereBook(LocalBook(directory), take_over=rulings.take_over)
    from dr.audit.home import HomeBook  # what a journal needs that has a home
    from dr.audit.s3 import S3Store

    typed = click.get_current_context().ensure_object(dict)

    def tell(text: str) -> None:  # also from threads, which have no context
        complain(as_typed(text, typed))

    return HomeBook(LocalBook(directory), S3Store(where.home), tuple(map(S3Store, where.mirrors)), rulings, tell)


def recorded_in(runs: Book) -> Iterator[str]:
    """Where else than in the local directory a run will be recorded, in a line for the plan."""
    if runs.stores:
        home, *mirrors = runs.stores
        mirrored = f", with a mirror in {' and '.join(mirrors)}" if mirrors else ""
        yield f"Recorded in {home}, too{mirrored}: nothing is touched before it is written there."


def _checked(directory: Path) -> Path:
    if directory.exists() and not directory.is_dir():
        what = f"the journal is kept in a directory, and {directory.absolute()} is a file"
        raise UsageError(what, stands="nothing was touched")
    return directory.absolute()


def _places(given: Mapping[str, Any], declared: Config | None) -> Places | None:
    """The home that was named, else that of `dr.toml`; when it is the same, all that the file says of it holds."""
    known = declared.places if declared else None
    if not given.get("home"):
        return known
    try:
        named = Places(place_of(given["home"], region=given.get("region"), endpoint=given.get("endpoint")))
    except ValueError as error:
        raise UsageError(f"--home: {error}", stands="nothing was touched") from None
    return known if known and known.home.name == named.home.name else named
