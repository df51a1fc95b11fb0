"""The engine: decide, record the intent, perform, observe, record the outcome.

One thread (the caller's) decides and writes the journal; the work is done by workers. Nothing here knows whether the
world is real: in tests the same engine runs against a simulated one.

What the engine keeps in memory is only about work in flight. Where the run stands is always the fold over the entries,
so a resume needs nothing but them.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from dr.audit.journal import Draft, Journal
from dr.core import decide as d
from dr.core import events as e
from dr.core import state as s
from dr.core.evidence import as_recorded, in_words
from dr.core.plan import Plan, PlannedStep
from dr.core.step import Evidence, InPlace, NotInPlace, Observation, Step, StopRequested, Unknown
from dr.core.timestamp import iso, parse_iso
from dr.errors import HomeUnreachable, JournalUnwritable
from dr.workers import Done, Job
from dr.world import Here, World

GRACE = 2.0
"""Seconds a step may overrun its timeout before it is given up: targets keep the deadline themselves, as a rule."""
TICK = 0.25
"""Seconds between two looks at the stop request while nothing happens."""
LONGEST_TEXT = 2000
"""Characters of an error or question that go into an entry (safety rule 15)."""


class Waiting(msgspec.Struct, frozen=True):
    """The run stands at a question nobody has answered yet."""

    question: e.Question


class Interrupted(msgspec.Struct, frozen=True):
    """The run was stopped at a safe point."""

    because: str


Result = s.Ended | Waiting | Interrupted


# What a worker brings back.


class Raised(msgspec.Struct, frozen=True):
    """The work ended in an error. Of an effect this says nothing (safety rule 2)."""

    error: str


class Halted(msgspec.Struct, frozen=True):
    """The work broke off because the operator asked to stop."""


class InFlight(msgspec.Struct, frozen=True):
    """Work that a worker has been given and that has not come back."""

    job: Job
    action: d.Work
    step: Step
    changing: bool
    """Whether it may change the target, or only looks."""
    deadline: float
    """When it is given up, by the steady clock."""


class Engine:
    """Carries one run from where it stands to its end, a question, or a stop."""

    def __init__(self, plan: Plan, journal: Journal, state: s.State, world: World, actor: str) -> None:
        self.plan = plan
        self._journal = journal
        self._world = world
        self._actor = actor
        self.state = state
        self._decided: tuple[s.State | None, tuple[d.Action, ...]] = (None, ())
        """The actions that were decided last, and for which state."""
        self._pending: list[Draft] = []
        """Recorded, and not yet written to the journal."""
        self._flying: dict[str, InFlight] = {}
        """What the workers are at, by step."""
        self._claimed: dict[str, str] = {}
        """The error of a step's latest change. Told as the reason if the effect is then not seen."""
        self._given_up: set[str] = set()
        """Steps whose change was given up after its timeout: its thread may still bring the effect about."""
        self._due: dict[tuple[str, str], float] = {}
        """When a recorded wait is over by the steady clock, by step and `not_before`."""

    @property
    def run_name(self) -> str:
        return self._journal.run

    @property
    def journal(self) -> Journal:
        return self._journal

    def record(self, *events: e.Event, flush: bool = True) -> None:
        """Evolve by the events and put them into the journal; with `flush`, they are durable when this returns."""
        at = iso(self._world.clock.utc())
        for event in events:
            fit = e.map_text(event, self._fit, self._world.mask)
            self.state = s.evolve(self.plan, self.state, fit)
            self._pending.append(Draft(at, self._actor, fit))
        if flush:
            self.flush()

    def _fit(self, text: str) -> str:
        """First masked, then cut: the beginning of a secret is a secret too (safety rules 13 and 15)."""
        return _short(self._world.mask(text))

    def flush(self) -> None:
        """Make everything recorded so far durable, in one write."""
        if not self._pending:
            return
        drafts, self._pending = self._pending, []
        self._world.watcher.recorded(self._journal.append(drafts))
        notices = self._journal.notices()
        if notices and not isinstance(self.state, s.Ended):
            self.record(*notices)

    def run(self) -> Result:
        """Go on until the run ends, asks, or is stopped."""
        while True:
            if self._world.stop.is_set() and not self._flying:
                return self._stop("asked to (Ctrl-C, SIGTERM, or the terminal has gone)")
            begun = self._begin()
            if not isinstance(begun, float):
                return begun
            if begun > 0:
                self.flush()
                self._collect(begun)

    # Beginning things

    def _begin(self) -> float | s.Ended | Waiting:
        """Begin what is to be done now. Seconds until something is due (0: at once), or the result of the run."""
        due = TICK
        for action in self._wanted():
            if not isinstance(action, d.Work):
                if self._flying:
                    continue  # what changes the course waits until nothing is in flight
                return self._take_course(action)
            if action.step.id in self._flying or self._world.stop.is_set():
                continue
            delay = self._delay(action)
            if delay <= 0:
                return self._start(action)
            due = min(due, delay)
        return due

    def _wanted(self) -> tuple[d.Action, ...]:
        """What is to be done now. Decided once for each state: the decision is a function of it."""
        state, actions = self._decided
        if state is not self.state:
            actions = d.decide(self.plan, self.state)
            self._decided = self.state, actions
        return actions

    def _take_course(self, action: d.Course) -> float | s.Ended | Waiting:
        """What only takes an entry, and moves the run on as a whole."""
        match action:
            case d.Skip(step=step, comment=comment):
                self.record(e.StepSkipped(step=step.id, comment=comment), flush=False)
            case d.RollBack(because=because):
                self.record(e.RollbackStarted(because=because))
            case d.Ask(question=question):
                self.record(e.Paused(question=question))
                self._checkpoint()
            case d.Await(question=question):
                return self._ask(question)
            case d.End(finish=finish, service=service):
                self.record(e.RunEnded(finish=finish, service=service))
                self._seal()
                return s.Ended(finish, service)
        return 0.0

    def _delay(self, action: d.Work) -> float:
        """Seconds until the action may begin.

        `not_before` is a time of day, perhaps by another machine's clock. So it is compared with this machine's clock
        only once, and taken for no longer than the longest wait that `retry` can draw; then the steady clock counts.
        """
        not_before = getattr(action, "not_before", None)
        if not_before is None:
            return 0.0
        now, key = self._world.clock.monotonic(), (action.step.id, not_before)
        if key not in self._due:
            longest = action.step.retry.max + action.step.retry.jitter + action.step.retry.wait
            self._due[key] = now + min(parse_iso(not_before) - self._world.clock.utc(), longest)
        return self._due[key] - now

    def _start(self, action: d.Work) -> float:
        step = self._world.step(action.step)
        match action:
            case d.Attempt():
                if step.observable:
                    self._perform(action, step, 0, step.observe)
                else:
                    self._apply(action, step, {})
            case d.Settle(number=number):
                self._perform(action, step, number, step.observe)
            case d.CheckHealth():
                self._perform(action, step, 0, step.observe)
            case d.Undo(number=number, before=before):
                self.record(e.UndoStarted(step=action.step.id, attempt=number))
                self._perform(action, step, number, lambda here: step.undo(here, before), changing=True)
            case d.SettleUndo(number=number, before=before):
                self._perform(action, step, number, lambda here: step.observe_undone(here, before))
        return 0.0

    def _apply(self, action: d.Attempt, step: Step, before: Evidence) -> None:
        """The intent goes to stable storage before the target is touched (safety rule 1)."""
        self._given_up.discard(action.step.id)
        self.record(e.ApplyStarted(step=action.step.id, attempt=action.number, before=before))
        self._perform(action, step, action.number, step.apply, changing=True)

    def _perform(
        self, action: d.Work, step: Step, attempt: int, work: Callable[[Here], object], *, changing: bool = False
    ) -> None:
        """Have `work` done: in place when there is no target it could hang in, else by the workers."""
        planned = action.step
        if not planned.targets:
            self._take(action, step, self._outcome(planned, attempt, work), changing=changing)
            return
        job = Job(planned.id, partial(self._outcome, planned, attempt, work))
        deadline = self._world.clock.monotonic() + planned.timeout + GRACE
        self._flying[planned.id] = InFlight(job, action, step, changing, deadline)
        self.flush()
        self._world.workers.submit(job)

    def _outcome(self, planned: PlannedStep, attempt: int, work: Callable[[Here], object]) -> object:
        """What `work` brings. Called by a worker, so it changes nothing here."""
        here = Here(self._world, self._journal.run, planned.id, attempt, planned.timeout)
        try:
            try:
                return _recordable(work(here))
            finally:
                here.close()
        except StopRequested:
            return Halted()
        except Exception as error:  # noqa: BLE001 - the one boundary to steps and targets: what they raise is a claim
            return Raised(_say_error(error))

    # Taking what comes back

    def _collect(self, wait: float) -> None:
        """Wait for a result, at most until something is due, and give up what is overdue."""
        done = self._world.workers.next(wait)
        while done is not None:
            self._land(done)
            done = self._world.workers.next(0)
        now = self._world.clock.monotonic()
        for flight in [flight for flight in self._flying.values() if flight.deadline < now]:
            seconds = float(flight.action.step.timeout)
            if flight.changing:
                self._given_up.add(flight.job.name)
            self._land(Done(flight.job, Raised(f"no answer within {seconds:g} s")))

    def _land(self, done: Done) -> None:
        """Take a result. A late one, of work that was given up, is not heard any more."""
        flight = self._flying.get(done.job.name)
        if flight is None or flight.job is not done.job:
            return
        del self._flying[done.job.name]
        self._take(flight.action, flight.step, done.result, changing=flight.changing)

    def _take(self, action: d.Work, step: Step, result: object, *, changing: bool) -> None:
        """What the work brought moves the run on. Work that was broken off brought nothing."""
        if isinstance(result, Halted):
            return
        match action:
            case d.Attempt() | d.Undo() if changing:
                self._claim(action, result)
            case d.Attempt():
                self._looked(action, step, result)
            case d.Settle():
                self._settled(action, _observation(result))
            case d.SettleUndo():
                self._settled_undo(action, _observation(result))
            case d.CheckHealth():
                self._checked_health(_observation(result))

    def _looked(self, action: d.Attempt, step: Step, result: object) -> None:
        """The look before an attempt: in place is done, anything unseen is a failed attempt that touched nothing."""
        match result:
            case InPlace(evidence=evidence):
                self.record(e.StepDone(step=action.step.id, attempt=0, evidence=evidence), flush=False)
            case NotInPlace(evidence=evidence) if step.acts:
                if self._still_wanted(action):
                    self._apply(action, step, evidence)
            case NotInPlace(evidence=evidence):
                self._attempt_failed(action.step, action.number, in_words(evidence))
            case Unknown(why=why) | Raised(error=why):
                self._attempt_failed(action.step, action.number, f"it could not be looked at: {why}")

    def _still_wanted(self, action: d.Attempt) -> bool:
        """Nothing new begins when the operator asked to stop during the look, or a step beside it has failed."""
        return not self._world.stop.is_set() and any(
            isinstance(other, d.Attempt) and other.step is action.step for other in self._wanted()
        )

    def _claim(self, action: d.Attempt | d.Undo, result: object) -> None:
        """What the target claimed. Only worth an entry when it said something; proof it is not."""
        error = result.error if isinstance(result, Raised) else ""
        claim = result if isinstance(result, dict) else {}
        if error:
            self._claimed[action.step.id] = error
        else:
            self._claimed.pop(action.step.id, None)
        if error or claim:
            kind = e.ApplyReturned if isinstance(action, d.Attempt) else e.UndoReturned
            self.record(kind(step=action.step.id, attempt=action.number, claim=claim, error=error), flush=False)

    def _settled(self, action: d.Settle, seen: Observation) -> None:
        """The look after an apply: the only thing that ends doubt."""
        step, number = action.step.id, action.number
        match seen:
            case InPlace(evidence=evidence):
                self.record(e.StepDone(step=step, attempt=number, evidence=evidence), flush=False)
            case NotInPlace() if step in self._given_up:
                self._unseen(action, "the change was given up after its timeout and may still be on its way")
            case NotInPlace(evidence=evidence):
                why = f"it was applied and is not there: {in_words(evidence)}"
                self._attempt_failed(action.step, number, self._claimed.pop(step, "") or why)
            case Unknown(why=why):
                self._unseen(action, why)

    def _settled_undo(self, action: d.SettleUndo, seen: Observation) -> None:
        match seen:
            case InPlace(evidence=evidence):
                self.record(e.StepUndone(step=action.step.id, evidence=evidence))
            case NotInPlace(evidence=evidence):
                why = f"it was undone and is still there: {in_words(evidence)}"
                self._undo_failed(action, self._claimed.pop(action.step.id, "") or why)
            case Unknown(why=why):
                self._undo_failed(action, f"it cannot be seen: {why}")

    def _checked_health(self, seen: Observation) -> None:
        """Not seen is not well: recovery ends only when the steady state was seen to hold (safety rule 14)."""
        match seen:
            case InPlace(evidence=evidence):
                self.record(e.HealthObserved(well=True, evidence=evidence))
            case NotInPlace(evidence=evidence):
                self.record(e.HealthObserved(well=False, evidence=evidence))
            case Unknown(why=why):
                self.record(e.HealthObserved(well=False, evidence={"findings": [why]}))

    def _unseen(self, action: d.Settle, why: str) -> None:
        not_before = self._later(action.step, action.looks + 1)
        self.record(e.StepUnseen(step=action.step.id, attempt=action.number, why=why, not_before=not_before))

    def _attempt_failed(self, step: PlannedStep, number: int, error: str) -> None:
        not_before = self._later(step, number)
        self.record(e.AttemptFailed(step=step.id, attempt=number, error=error, not_before=not_before))

    def _undo_failed(self, action: d.SettleUndo, error: str) -> None:
        not_before = self._later(action.step, action.number)
        self.record(e.UndoFailed(step=action.step.id, attempt=action.number, error=error, not_before=not_before))

    def _later(self, step: PlannedStep, number: int) -> str | None:
        """When to try again after try `number`; None when no try is left, or none would tell anything."""
        if number >= step.retry.attempts or not step.observable:
            return None
        return iso(self._world.clock.utc() + self._world.draw_wait(step.retry, number))

    # Pausing and ending

    def _ask(self, question: e.Question) -> Waiting | float:
        answer = self._world.operator.ask(question)
        if answer is None:
            self.flush()
            return Waiting(question)
        self.record(e.OperatorAnswered(choice=answer.choice, comment=answer.comment))
        self._given_up.discard(question.step)  # the operator has ruled, knowing that it may still be on its way
        return 0.0

    def _stop(self, because: str) -> Interrupted:
        self.record(e.RunStopped(because=because))
        self._checkpoint()
        return Interrupted(because)

    def _seal(self) -> None:
        """The last checkpoint. The run is over and its end is recorded: without it only the proof is weaker."""
        try:
            self._checkpoint()
        except (JournalUnwritable, HomeUnreachable) as error:
            self._world.watcher.say("journal", f"{error.what}; the run ended without its last checkpoint")

    def _checkpoint(self) -> None:
        self._journal.checkpoint(iso(self._world.clock.utc()), self._actor)


def _observation(result: object) -> Observation:
    """What an observation brought; an error of the look is not knowing, never a failure (safety rule 3)."""
    match result:
        case InPlace() | NotInPlace() | Unknown():
            return result
        case Raised(error=error):
            return Unknown(error)
        case _:
            return Unknown(f"the step answered {type(result).__name__} instead of an observation")


def _recordable(result: object) -> object:
    """The result, with its evidence as the journal will hold it. Raises as `as_recorded` does."""
    match result:
        case InPlace(evidence=evidence) if evidence:
            return InPlace(as_recorded(evidence))
        case NotInPlace(evidence=evidence) if evidence:
            return NotInPlace(as_recorded(evidence))
        case dict() if result:
            return as_recorded(result)
        case _:
            return result


def _say_error(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _short(text: str) -> str:
    """The text within its limit, and fit to be stored: an undecodable file name in an error is not Unicode."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
