"""Runs in the real world: started, gone on with, and read back.

A resume is: take the lock, verify, fold, decide. On this machine or on another, after a pause, a Ctrl-C or a kill -9.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from dr import __version__
from dr.audit.here import Book
from dr.audit.journal import Journal
from dr.audit.lock import this_host
from dr.audit.replay import Folded, fold
from dr.audit.stored import StoredRun
from dr.author import Author
from dr.core import events as e
from dr.core import state as s
from dr.core.duration import decode_hook
from dr.core.plan import Plan, PlannedStep, digest
from dr.core.secret import is_reference
from dr.core.step import Evidence, OutOfTime, Step, target_fields
from dr.core.timestamp import iso
from dr.engine import Engine
from dr.errors import (
    JournalUnwritable,
    PreconditionFailed,
    RollbackRefused,
    RunEnded,
    SigningFailed,
)
from dr.secrets import Secrets
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES, open_target
from dr.targets.protocols import Opening, Target, TargetUnreachable
from dr.waits import draw_wait
from dr.workers import Threads
from dr.world import Here, Operator, Stop, Watcher, World

PREFLIGHT = 5.0
"""Seconds in which a target must answer before the first step."""


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)
    utc = staticmethod(time.time)


class RealTargets:
    """Opens the targets of a plan."""

    def __init__(self, configs: Mapping[str, Mapping[str, object]], secrets: Secrets) -> None:
        self._configs = {
            name: msgspec.convert(raw, TARGET_TYPES[str(raw["type"])], dec_hook=decode_hook)
            for name, raw in configs.items()
        }
        self._secrets = secrets

    @contextlib.contextmanager
    def open(self, name: str, label: str, timeout: float) -> Iterator[Target]:
        target = self._opened(name, label, timeout)
        try:
            yield target
        finally:
            target.close()

    def _opened(self, name: str, label: str, timeout: float) -> Target:
        secrets = self._secrets
        opening = Opening(
            name=name,
            label=label,
            timeout=timeout,
            secret=secrets.resolve,
            mask=secrets.remember,
            other=lambda other: self._opened(other, label, timeout),
        )
        return open_target(self._configs[name], opening)

    def resolve_secrets(self) -> None:
        """Find every secret once, so that a missing one is told before anything is touched.

        Raises:
            SecretMissing: one cannot be resolved.
        """
        for config in self._configs.values():
            info = msgspec.inspect.type_info(type(config))
            for field in getattr(info, "fields", ()):
                value = getattr(config, field.name)
                if value and _is_secret(field.type):
                    for reference in value.values() if isinstance(value, dict) else (value,):
                        if is_reference(reference):
                            self._secrets.resolve(reference)


def real_world(targets: RealTargets, secrets: Secrets, operator: Operator, watcher: Watcher, stop: Stop) -> World:
    """The real world for the engine."""
    return World(
        clock=SystemClock(),
        stop=stop,
        workers=Threads(),
        targets=targets,
        operator=operator,
        watcher=watcher,
        step=make_step,
        draw_wait=draw_wait,
        mask=secrets.mask,
    )


def make_step(planned: PlannedStep) -> Step:
    """The step of a line of the plan."""
    step: Step = msgspec.convert(planned.params, CATALOGUE[planned.kind], dec_hook=decode_hook)
    return step


def preflight(plan: Plan, targets: RealTargets) -> None:
    """Ask every target that a step acts on, side by side, before anything is touched (safety rule 9).

    Targets that are only looked at are left out: the website being down is why the runbook is run. So are those of
    steps that this run skips, and the server that a failover is away from.

    Raises:
        PreconditionFailed: at least one does not answer.
    """
    acting = (step for step in plan.steps() if not step.skip and CATALOGUE[step.kind].acts)
    names = sorted({name for step in acting for name in step.targets if name not in _may_be_down(step)})
    if not names:
        return
    from concurrent.futures import ThreadPoolExecutor  # with logging: only where there is something to be reached

    with ThreadPoolExecutor(max_workers=len(names), thread_name_prefix="preflight") as pool:
        answers = list(pool.map(lambda name: _ping(targets, name), names))
    silent = [f"{name}: {why.removeprefix(f'{name}: ')}" for name, why in zip(names, answers, strict=True) if why]
    if silent:
        raise PreconditionFailed(
            "not everything can be reached\n" + "\n".join(f"  {line}" for line in silent),
            stands="nothing was touched; no run was started",
            hint="mend it, or run with --ungraceful to pass over the steps that allow it",
        )


def look(plan: Plan, world: World) -> Iterator[tuple[PlannedStep, Evidence | str]]:
    """What each step would act on right now, where it can tell; or why it cannot be looked at. Changes nothing."""
    verify = (plan.steady_state,) if plan.steady_state else ()
    for planned in (*plan.steps(), *verify):
        here = Here(world, "look", planned.id, 0, PREFLIGHT)
        try:
            seen = world.step(planned).preview(here)
        except (TargetUnreachable, LookupError, OutOfTime) as error:
            yield planned, str(error)
        else:
            if seen is not None:
                yield planned, seen
        finally:
            here.close()


def start(book: Book, plan: Plan, raw: bytes, world: World, author: Author, *, reason: str, detected: str) -> Engine:
    """A new run, its first entry durable and signed; nothing was touched yet.

    `raw` is the plan as `encode_plan` wrote it: what is kept are the bytes whose digest the operator was shown.

    Raises:
        JournalUnwritable: there is no place to record it.
        SigningFailed: the key refused; nothing but the first entry is there.
    """
    started = e.RunStarted(
        plan=digest(raw),
        runbook=plan.runbook,
        environment=plan.environment,
        mode=plan.mode,
        reason=reason,
        host=this_host(),
        version=__version__,
        detected=detected,
        caller=book.caller(),
        signer=author.signer,
        unsigned=author.unsigned,
    )
    try:
        journal = book.create(_name(plan), raw, plan.environment, this_process(), author.seal)
        engine = Engine(plan, journal, s.NotStarted(), world, author.name)
        engine.record(started)
    except JournalUnwritable as error:
        raise JournalUnwritable(
            error.what,
            stands="nothing was touched; no run was started",
            hint="make room or mend the permissions, or name another place: --journal DIRECTORY",
        ) from None
    _sign_first(journal, world, author)
    return engine


def go_on(
    book: Book,
    stored: StoredRun,
    make_world: Callable[[Plan], World],
    author: Author,
    admit: Callable[[Folded], None] = lambda _: None,
) -> Engine:
    """Take the run over from where it stands; that is recorded, and with it what a crash had left unfinished.

    Args:
        book: where the run is.
        stored: the run.
        make_world: the world for its plan.
        author: who goes on.
        admit: raises when what is wanted of the run cannot be had where it stands; then nothing is recorded.

    Raises:
        JournalHeld: a live process has it.
        JournalBroken, PlanChanged: it does not verify; nothing was changed.
        RunEnded: there is nothing to go on with.
        SigningFailed: the key refused, or a signed run would be gone on with unsigned.
    """
    journal, torn = book.resume(stored, this_process(), author.seal)
    try:
        folded = fold(stored)
        _refuse_ended(stored, folded.state)
        author.admit(stored, folded.first)
        admit(folded)
        world = make_world(folded.plan)
        engine = Engine(folded.plan, journal, folded.state, world, author.name)
        engine.record(
            e.RunResumed(
                host=this_host(),
                version=__version__,
                torn_bytes=torn.bytes if torn else 0,
                torn_sha256=torn.sha256 if torn else "",
                signer=author.signer,
                unsigned=author.unsigned,
            )
        )
        _sign_first(journal, world, author)
    except RunEnded:
        book.leave(journal, ended=True)
        raise
    except BaseException:
        book.leave(journal, ended=False)
        raise
    return engine


def _sign_first(journal: Journal, world: World, author: Author) -> None:
    """Sign what is there before the first effect."""
    if author.signing is None:
        return
    try:
        journal.checkpoint(iso(world.clock.utc()), author.name)
    except SigningFailed as error:
        raise SigningFailed(
            error.what,
            stands=f"nothing was touched; that {author.name} began is the last entry of {journal.run}",
            hint=f"dr resume {journal.run}   (--unsigned REASON goes on without a signature)",
        ) from None


@contextlib.contextmanager
def left(book: Book, engine: Engine) -> Iterator[None]:
    """At the end of the block this process is done with the run, however it stands."""
    try:
        yield
    finally:
        book.leave(engine.journal, ended=isinstance(engine.state, s.Ended))


def admit_rollback(folded: Folded) -> None:
    """Refuse a rollback where there is nothing to roll back, or past the point of no return (safety rule 6).

    Raises:
        RollbackRefused: with the step that cannot be undone.
    """
    then = _underneath(folded.state)
    if isinstance(then, s.RollingBack):
        return
    if not isinstance(then, s.Running | s.Verifying | s.Deviating) or (
        not isinstance(then, s.Running) and then.finish != "completed"
    ):
        raise RollbackRefused("there is nothing to roll back any more", stands=f"the run is {s.describe(folded.state)}")
    barrier = s.rollback_refused(folded.plan, then.applied)
    if barrier is not None:
        raise RollbackRefused(
            f"{barrier.id} cannot be undone, and it has been (or may have been) applied",
            stands="nothing was undone; the run is where it was",
            hint=f"dr resume {folded.first.run}",
        )


def roll_back(engine: Engine, because: str) -> None:
    """Have an admitted run rolled back, as the operator says. What is rolling back already goes on."""
    if isinstance(_underneath(engine.state), s.RollingBack):
        return
    if isinstance(engine.state, s.Paused):
        engine.record(e.OperatorAnswered(choice="rollback", comment=because))
    else:
        engine.record(e.RollbackStarted(because=because))


def _underneath(state: s.State) -> s.State:
    """Where the run stands apart from an open question."""
    return state.then if isinstance(state, s.Paused) else state


def _refuse_ended(stored: StoredRun, state: s.State) -> None:
    if isinstance(state, s.Ended):
        raise RunEnded(
            f"the run {stored.run} has ended: {state.finish}, service {state.service}",
            stands="nothing was touched",
            hint=f"dr show {stored.run}",
        )


def this_process() -> str:
    """This process, in words, for the message another one gets."""
    return f"pid {os.getpid()} on {this_host()}"


def _name(plan: Plan) -> str:
    """A name that sorts by time, says what it was, and is never given twice."""
    # To the millisecond: `latest` must be right too when a script has started two runs in one second.
    when = datetime.fromtimestamp(time.time(), UTC)
    stamp = f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03}Z"
    return f"{stamp}-{plan.runbook}-{os.urandom(3).hex()}"


def _may_be_down(planned: PlannedStep) -> set[str]:
    return {name for name, role in target_fields(make_step(planned)) if role.may_be_down}


def _ping(targets: RealTargets, name: str) -> str:
    """Why the target does not answer; empty when it does."""
    try:
        with targets.open(name, "dr:preflight", PREFLIGHT) as target:
            target.ping()
    except (TargetUnreachable, LookupError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _is_secret(kind: object) -> bool:
    if isinstance(kind, msgspec.inspect.UnionType):  # a reference or nothing
        return any(_is_secret(member) for member in kind.types)
    if isinstance(kind, msgspec.inspect.DictType):  # references by name
        return _is_secret(kind.value_type)
    return isinstance(kind, msgspec.inspect.Metadata) and bool((kind.extra or {}).get("secret"))
