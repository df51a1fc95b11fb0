"""`check`, `plan`, `kinds`, `schema`: everything that touches nothing."""

from pathlib import Path

import click
import msgspec

from dr.cli.options import config_option, parameters
from dr.core.plan import Plan, digest, encode_plan
from dr.environment import load_config
from dr.errors import RunbookWrong
from dr.report.words import plan_lines

runbook_argument = click.argument("runbook", type=click.Path(path_type=Path))
parameter_option = click.option(
    "-p",
    "--param",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parameters,
    help="A parameter of the runbook.",
)
ungraceful_option = click.option(
    "--ungraceful", is_flag=True, help="Part of the site is lost: pass over the steps that depend on it."
)


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
    from dr.bind import bind  # with YAML, which no other command needs: not to be paid for by `dr resume`
    from dr.load import read

    declared = load_config(config).environment(environment) if environment else None
    wrong: list[RunbookWrong] = []
    for path in runbooks:
        try:
            count = len(bind(read(path), declared, {}, samples=True).steps())
        except RunbookWrong as error:
            wrong.append(error)
        else:
            click.echo(f"{path}: well ({count} step{'s' if count != 1 else ''})")
    if wrong:
        raise RunbookWrong("\n".join(error.what for error in wrong), stands=wrong[0].stands, hint=wrong[0].hint)


@click.command(
    epilog="""\b
Examples:
  dr plan runbooks/database-overload.yaml --env production
  dr plan runbooks/database-overload.yaml --env production --look
  dr plan runbooks/database-overload.yaml --env demo -p feature=recommendations --json"""
)
@runbook_argument
@click.option("--env", "environment", required=True, help="The environment of dr.toml to bind to.")
@parameter_option
@ungraceful_option
@click.option("--look", "look_too", is_flag=True, help="Also look what each step would act on now; changes nothing.")
@click.option("--json", "as_json", is_flag=True, help="The plan as canonical JSON.")
@config_option
def plan(
    runbook: Path,
    environment: str,
    given: dict[str, str],
    ungraceful: bool,
    look_too: bool,
    as_json: bool,
    config: Path,
) -> None:
    """Show what a runbook would do, and touch nothing."""
    bound = bind_to(runbook, environment, given, ungraceful=ungraceful, config=config)
    raw = encode_plan(bound)
    if as_json:
        click.echo(raw)
        return
    click.echo("\n".join(plan_lines(bound, digest(raw), signer_of(config))))
    if look_too:
        from dr.cli.looking import look_lines  # the engine and the targets: only for a look

        click.echo("\nRight now:")
        for line in look_lines(bound):
            click.echo(line)


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


def bind_to(runbook: Path, environment: str, given: dict[str, str], *, ungraceful: bool, config: Path) -> Plan:
    """The plan of a runbook file in an environment of `dr.toml`."""
    from dr.bind import bind  # see `check`
    from dr.load import read

    declared = load_config(config).environment(environment)
    return bind(read(runbook), declared, given, "ungraceful" if ungraceful else "graceful")


def signer_of(config: Path) -> str:
    """Who signs a run, as `dr.toml` says, for the plan; empty: nobody."""
    signing = load_config(config).signing
    return f"{signing.identity} ({signing.key})" if signing else ""
