"""A bare click program: a group of as many commands as `dr` has, each with one line of help and nothing behind it."""

import click


@click.group()
def main() -> None:
    """Execute disaster-recovery runbooks."""


for word in (
    *("check", "plan", "run", "resume", "rollback", "answer"),
    *("runs", "show", "kinds", "schema", "audit", "demo"),
):
    main.add_command(click.Command(word, help=f"The {word} command."))

main()
