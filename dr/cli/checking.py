"""`check`, `kinds`, `schema`: what can be said of runbooks without an environment."""

from pathlib import Path

import click
import msgspec

from dr.cli.options import config_option
from dr.errors import RunbookWrong


@click.command(
    epilog="""\b
Examples:
  dr check runbooks/database-overload.yaml
  dr check runbooks/*.yaml --env production"""
)
@click.argument("runbooks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--env", "environment", help="Also check that this environment has the targets.")
@config_option
def check(runbooks: tuple[Path, ...], environment: str | None, config: Path) -> None:
    """Check a runbook; every error with file:line:column."""
    from dr.bind import bind  # with YAML: not for `dr check --help`
    from dr.load import read

    declared = None
    if environment:
        from dr.environment import load_config  # with TOML, signers, the journal's places: most checks are made without

        declared = load_config(config).environment(environment)
    wrong: list[RunbookWrong] = []
    for path in runbooks:
        try:
            document = read(path)
            count = len(bind(document, declared, {}, samples=True).steps())
            if declared is not None:  # targets that only an ungraceful run needs; the worst time to miss one is then
                bind(document, declared, {}, "ungraceful", samples=True)
        except RunbookWrong as error:
            wrong.append(error)
        else:
            click.echo(f"{path}: well ({count} step{'s' if count != 1 else ''})")
    if wrong:
        raise RunbookWrong("\n".join(error.what for error in wrong), stands=wrong[0].stands, hint=wrong[0].hint)


@click.command(epilog="\b\nExamples:\n  dr kinds\n  dr kinds queries.terminate\n  dr kinds pgbouncer-reads")
@click.argument("kind", required=False)
def kinds(kind: str | None) -> None:
    """List the kinds of steps and of targets, and what each takes."""
    from dr.reference import kind_lines  # reads every docstring: only for this command

    click.echo("\n".join(kind_lines(kind)))


@click.command(
    epilog="""\b
Examples:
  dr schema > runbook.schema.json
Then, as the first line of a runbook, for editors with the YAML language server:
  # yaml-language-server: $schema=runbook.schema.json"""
)
def schema() -> None:
    """Print the JSON Schema of runbooks, for editors."""
    from dr.reference import runbook_schema  # builds a schema of every kind: only for this command

    click.echo(msgspec.json.format(msgspec.json.encode(runbook_schema()), indent=2))
