"""`plan`: what a run would do, without doing it."""

from pathlib import Path

import click

from dr.cli.options import config_option, parameters
from dr.cli.streams import display
from dr.core.plan import Plan, digest, encode_plan
from dr.environment import load_config
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
    display(*plan_lines(bound, digest(raw), signer_of(config)))
    if look_too:
        from dr.cli.looking import look_lines  # the engine and the targets: only for a look

        display("", "Right now:")
        for line in look_lines(bound):
            display(line)


def bind_to(runbook: Path, environment: str, given: dict[str, str], *, ungraceful: bool, config: Path) -> Plan:
    """The plan of a runbook file in an environment of `dr.toml`."""
    from dr.bind import bind  # with YAML, which no other command needs: not to be paid for by `dr resume`
    from dr.load import read

    declared = load_config(config).environment(environment)
    return bind(read(runbook), declared, given, "ungraceful" if ungraceful else "graceful")


def signer_of(config: Path) -> str:
    """Who signs a run, as `dr.toml` says, for the plan; empty: nobody."""
    signing = load_config(config).signing
    return f"{signing.identity} ({signing.key})" if signing else ""
