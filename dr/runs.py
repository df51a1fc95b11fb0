"""Runs: started, gone on with, rolled back.

A resume is: take the lock, verify, fold, decide. It is the same on this machine and on another, after a pause, a Ctrl-C
or a kill -9.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from dr import __version__
from dr.audit.here import Book
from dr.audit.journal import Journal
from dr.audit.lock import this_host
from dr.audit.replay import Folded, fold
from dr.audit.stored import StoredRun
from dr.author import Author
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan, digest
from dr.core.timestamp import iso
from dr.engine import Engine
from dr.errors import (
    JournalUnwritable,
    RollbackRefused,
    RunEnded,
    SigningFailed,
)
from dr.world import World


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
