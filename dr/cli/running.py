"""`run`, `resume`, `rollback`, `answer`: everything that acts."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

import click

from dr.audit.replay import Folded
from dr.cli.identity import author_of_run
from dr.cli.journal import book, journal_option, recorded_in, resume_options, start_options
from dr.cli.options import config_option, instant, run_argument, unsigned_option, utf8
from dr.cli.planning import bind_to, parameter_option, runbook_argument, signer_of, ungraceful_option
from dr.cli.streams import paint, tell
from dr.cli.terminal import Json, Keyboard, Plain, can_draw, is_terminal
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan, digest, encode_plan
from dr.core.timestamp import iso
from dr.engine import Engine, Interrupted, Waiting
from dr.errors import Aborted, Deviated, NeedsOperator, RolledBack, Stopped, UsageError
from dr.preflight import preflight
from dr.real_world import RealTargets, real_world
from dr.report.words import answer_command, choice_lines, plan_lines, standing
from dr.runs import admit_rollback, go_on, left, roll_back, start
from dr.secrets import Secrets
from dr.world import Answer, Watcher, World

json_option = click.option("--json", "as_json", is_flag=True, help="Entries as JSON lines, as they are written.")

_FINISHED: Mapping[e.Service, tuple[str, str]] = {
    "well": ("recovered", "the steady state held"),
    "not-checked": ("finished", "no steady state is declared, so whether the service is well was not verified"),
}
_ROLLED_BACK: Mapping[e.Service, str] = {
    "well": "what it had applied is undone; the steady state holds",
    "deviated": "what it had applied is undone; the steady state DOES NOT HOLD",
    "not-checked": "what it had applied is undone; no steady state is declared to verify",
}

CLOCKS_DIFFER = 5 * 60.0
"""How far ahead of this machine's clock a detection may be: another machine's clock told it."""


@click.command(
    epilog="""\b
Examples:
  dr run runbooks/database-overload.yaml --env production
  dr run runbooks/database-overload.yaml --env drill --yes --reason "drill of the second quarter"
  dr run runbooks/database-overload.yaml --env demo -p feature=recommendations --json --yes"""
)
@runbook_argument
@click.option("--env", "environment", required=True, help="The environment of dr.toml to act on.")
@parameter_option
@ungraceful_option
@click.option("--yes", is_flag=True, help="Do not ask before the first step.")
@click.option("--reason", default="", callback=utf8, help="Why; goes into the journal.")
@click.option(
    "--detected", metavar="TIME", default="", help="When the trouble was detected (ISO 8601); RTO counts from it."
)
@json_option
@unsigned_option
@start_options
@journal_option
@config_option
def run(
    runbook: Path,
    environment: str,
    given: dict[str, str],
    ungraceful: bool,
    yes: bool,
    reason: str,
    detected: str,
    as_json: bool,
    unsigned: str,
    journal: Path | None,
    config: Path,
) -> None:
    """Execute a runbook.

    Shows the plan, asks, carries it out, and verifies the steady state. Every step is recorded before it touches
    anything: whatever happens, `dr resume` goes on.
    """
    detected = _detected(detected) if detected else ""
    plan = bind_to(runbook, environment, given, ungraceful=ungraceful, config=config)
    raw = encode_plan(plan)
    runs, secrets = book(config, journal), Secrets()  # a home gets ready while the plan is read
    if not as_json:
        signer = "" if unsigned else signer_of(config)
        tell("\n".join([*plan_lines(plan, digest(raw), signer), *recorded_in(runs)]) + "\n")
    if not yes:
        if not is_terminal():
            raise UsageError(
                "nobody can be asked here", stands="nothing was touched", hint="add --yes to run without asking"
            )
        click.confirm(f"Carry this out on {environment}?", abort=True, err=True)  # --json has standard output
    targets = RealTargets(plan.targets, secrets)
    targets.resolve_secrets()
    who = author_of_run(config, secrets, unsigned)
    if not ungraceful:
        preflight(plan, targets)
    with _watching(plan, as_json=as_json, since=detected) as (keyboard, watcher):
        world = real_world(targets, secrets, keyboard, watcher, keyboard.stop)
        engine = start(runs, plan, raw, world, who, reason=reason, detected=detected)
        with left(runs, engine):
            result = engine.run()
    _finish(engine, result, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  dr resume latest
  dr resume 20230515T144500.000Z-database-overload-3fa9c1
  dr resume 20230515T1445 --json"""
)
@run_argument
@json_option
@unsigned_option
@resume_options
@journal_option
@config_option
def resume(run_name: str, as_json: bool, unsigned: str, journal: Path | None, config: Path) -> None:
    """Go on with a run that was stopped, paused or killed.

    RUN is a run's name, the beginning of one, or `latest`. Steps that are done are not repeated; a step in doubt is
    looked at first.
    """
    _carry_on(run_name, config, journal, as_json=as_json, unsigned=unsigned)


@click.command(
    epilog="""\b
Examples:
  dr answer latest retry
  dr answer latest --step promote yes
  dr answer latest skip --comment "the feature is disabled already, seen in the console"
  dr answer 20230515T1445 rollback"""
)
@run_argument
@click.argument("choice", type=click.Choice(get_args(e.Choice)))
@click.option("--comment", default="", callback=utf8, help="Why; goes into the journal. `skip` needs one.")
@click.option("--step", default="", metavar="STEP", help="Only if the open question is about this step.")
@json_option
@unsigned_option
@resume_options
@journal_option
@config_option
def answer(
    run_name: str,
    choice: str,
    comment: str,
    step: str,
    as_json: bool,
    unsigned: str,
    journal: Path | None,
    config: Path,
) -> None:
    """Answer the question a run is paused on, and go on."""
    if choice == "skip" and not comment.strip():
        raise UsageError("`skip` needs --comment: why is the step left out?", stands="nothing was touched")
    given = Answer(cast("e.Choice", choice), comment)
    _carry_on(run_name, config, journal, as_json=as_json, unsigned=unsigned, given=given, about=step)


@click.command(
    epilog="""\b
Examples:
  dr rollback latest --reason "the feature was not the cause"
  dr rollback 20230515T1445"""
)
@run_argument
@click.option("--reason", default="the operator asked for it", callback=utf8, help="Why; goes into the journal.")
@json_option
@unsigned_option
@resume_options
@journal_option
@config_option
def rollback(run_name: str, reason: str, as_json: bool, unsigned: str, journal: Path | None, config: Path) -> None:
    """Undo what a run has applied, in reverse order.

    For a run that has not ended: stopped, paused or killed. Refused once a step that cannot be undone may have been
    applied.
    """
    _carry_on(run_name, config, journal, as_json=as_json, unsigned=unsigned, rollback_because=reason)


def _carry_on(
    run_name: str,
    config: Path,
    journal: Path | None,
    *,
    as_json: bool,
    unsigned: str,
    given: Answer | None = None,
    about: str = "",
    rollback_because: str | None = None,
) -> None:
    """Go on with a run from where it stands, or roll it back where there is a reason to, be it an empty one.

    `given` answers the open question, if that is `about` this step (empty: about any).
    """
    runs, secrets = book(config, journal), Secrets()
    stored = runs.find(run_name)
    who = author_of_run(config, secrets, unsigned)
    with contextlib.ExitStack() as stack:

        def make_world(plan: Plan) -> World:
            targets = RealTargets(plan.targets, secrets)
            targets.resolve_secrets()
            keyboard, watcher = stack.enter_context(_watching(plan, as_json=as_json, past=stored.entries()))
            if given is not None:
                keyboard.give(given)
            return real_world(targets, secrets, keyboard, watcher, keyboard.stop)

        def admit(folded: Folded) -> None:
            if given is not None:
                _admit_answer(folded, given, about)
            if rollback_because is not None:
                admit_rollback(folded)

        engine = go_on(runs, stored, make_world, who, admit)
        with left(runs, engine):
            if rollback_because is not None:
                roll_back(engine, rollback_because)
            result = engine.run()
    _finish(engine, result, as_json=as_json)


def _admit_answer(folded: Folded, given: Answer, about: str) -> None:
    """Refuse an answer to a question that is not open any more, or that it does not fit."""
    run = folded.first.run
    if not isinstance(folded.state, s.Paused):
        raise UsageError(
            f"the run {run} has no open question",
            stands=f"it is {s.describe(folded.state)}; nothing was touched",
            hint=f"dr resume {run}",
        )
    question = folded.state.question
    if about not in ("", question.step):
        raise UsageError(
            f"the run {run} does not ask about {about}; it asks: {question.text}",
            stands="that question is still open; nothing was touched",
            hint=answer_command(run, question),
        )
    if given.choice not in question.choices:
        raise UsageError(
            f"{given.choice!r} is no answer to: {question.text}",
            stands="the question is still open; nothing was touched",
            hint=answer_command(run, question),
        )


@contextlib.contextmanager
def _watching(
    plan: Plan, *, as_json: bool, since: str = "", past: Iterable[e.Entry] = ()
) -> Iterator[tuple[Keyboard, Watcher]]:
    """The keyboard that is listened to and the display that fits: live on a terminal, plain lines or JSON elsewhere."""
    keyboard = Keyboard(interactive=is_terminal() and not as_json)
    with keyboard.listening():
        if as_json:
            yield keyboard, Json()
        elif not can_draw():
            yield keyboard, Plain()
        else:
            from dr.cli.live import Live  # rich: only for a person on a terminal

            with Live(plan, since, past) as live:
                keyboard.share(live)
                yield keyboard, live


def _finish(engine: Engine, result: s.Ended | Waiting | Interrupted, *, as_json: bool) -> None:
    """Say how it ended; everything but a recovery is an error with an exit status of its own."""
    name, stands = engine.run_name, standing(engine.plan, engine.state)
    match result:
        case Interrupted(because=because):
            raise Stopped(
                f"the run {name} was stopped: {because}",
                stands=stands,
                hint=f"dr resume {name}",
            )
        case Waiting(question=question):
            raise NeedsOperator(
                "\n".join([question.text, *choice_lines(question)]),
                stands=stands,
                hint=answer_command(name, question),
            )
        case s.Ended(finish="aborted"):
            raise Aborted(
                f"the run {name} was aborted", stands="what was applied stays applied", hint=f"dr show {name}"
            )
        case s.Ended(finish="rolled-back", service=service):
            raise RolledBack(f"the run {name} was rolled back", stands=_ROLLED_BACK[service], hint=f"dr show {name}")
        case s.Ended(service="deviated"):
            raise Deviated(
                f"the run {name} finished, but the steady state does not hold",
                stands="nothing was undone; what is wrong stands in the journal",
                hint=f"dr show {name}",
            )
        case s.Ended(service=service):
            if not as_json:
                label, why = _FINISHED[service]
                tell(f"\n{paint(label, sys.stdout, fg='green', bold=True)}: {name}; {why}")


def _detected(text: str) -> str:
    """The time at which the trouble was detected; never one to come."""
    when = instant("--detected", text)
    if when > time.time() + CLOCKS_DIFFER:
        raise UsageError(
            f"--detected is in the future: {text}; here it is {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            stands="nothing was touched",
            hint="give the time with its zone, such as 2023-05-15T10:00:00-04:00",
        )
    return iso(when)
