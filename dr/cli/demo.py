"""`demo`: the outage that the project comes from."""

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  dr demo
  dr demo --kill end-runaway-queries
  dr demo --report /tmp/drill"""
)
@click.option("--kill", metavar="STEP", help="Kill `dr` (SIGKILL) in this step of the runbook; a second one resumes.")
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-reports"),
    show_default=True,
    help="Where the folder with the report is made.",
)
@click.pass_context
def demo(ctx: click.Context, kill: str | None, reports: Path) -> None:
    """Recreate the outage of 15 May 2023 with real parts, and recover it.

    A PostgreSQL primary and its standby, a web shop with a bug, visitors and monitoring are started on this machine,
    reachable from it only; at the end all of it is stopped and removed.
    """
    from dr.demo import incident  # real servers need heavy libraries

    try:
        incident.play(kill, reports)
    except KeyboardInterrupt:
        click.echo("\nstopped; everything that was started is gone", err=True)
        ctx.exit(130)
