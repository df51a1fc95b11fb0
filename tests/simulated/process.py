"""Processes that carry a simulated run on, one after the other, and what became of it."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from dr.audit.journal import Journal
from dr.audit.stored import Torn
from dr.core import events as e
from dr.core import state as s
from dr.core.plan import Plan, digest, encode_plan
from dr.engine import Engine, Interrupted, Result, Waiting
from dr.waits import draw_wait
from dr.workers import Done, Job, Workers
from dr.world import Answer, World
from tests.simulated.clock import Clock, Stop
from tests.simulated.journal import Crash, Disk, Fuse, MemoryJournal
from tests.simulated.referee import Foul
from tests.simulated.site import Script, Site, make_step

K = TypeVar("K", bound=msgspec.Struct)

ACTOR = "ada"
REPAIR = 7.0
"""Seconds between a crash and the process that goes on."""
THOUGHT = 5.0
"""Seconds that the operator takes for an answer."""

Policy = Mapping[str, Sequence[e.Choice | None]]
"""What the operator answers to `failed`, `in-doubt` and so on, or to `failed:step`.

The last answer holds for all questions that follow; None: nobody is there.
"""


class Operator:
    """Answers by a policy. About what is in doubt it tells what it sees at the site, as a person would."""

    def __init__(self, site: Site, policy: Policy) -> None:
        self._site = site
        self._policy = policy
        self._asked: list[str] = []
        self.questions: list[e.Question] = []

    def ask(self, question: e.Question) -> Answer | None:
        self._site.fuse.point(f"asked about {question.about} {question.step}")
        self._site.clock.wait(THOUGHT)
        assert len(self.questions) < 60, "this run asks without end"
        self.questions.append(question)
        choice = self._choice(question)
        if choice is None:
            return None
        assert choice in question.choices, f"{choice} is not among {question.choices}"
        return Answer(choice, comment="as the policy says")

    def _choice(self, question: e.Question) -> e.Choice | None:
        for key in (f"{question.about}:{question.step}", question.about):
            if key in self._policy:
                answers = self._policy[key]
                self._asked.append(key)
                return answers[min(self._asked.count(key), len(answers)) - 1]
        value = self._site.effects().get(question.step)
        truth: dict[e.About, e.Choice] = {
            "confirm": "yes",
            "failed": "retry",
            "in-doubt": "done" if value == "on" else "retry",
            "undo-failed": "done" if value == "off" else "retry",
            "no-return": "retry",
            "steady-state": "accept",
        }
        return truth[question.about]


class Watcher:
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.entries: list[e.Entry] = []
        self.said: list[tuple[str, str]] = []

    def recorded(self, entries: Sequence[e.Entry]) -> None:
        self.entries += entries

    def say(self, step: str, text: str) -> None:
        self.said.append((step, text))


class SideBySide:
    """Workers whose calls take the time that the site says: results come back in another order than they were begun."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._done: list[tuple[float, int, Done]] = []
        self._count = 0

    def submit(self, job: Job) -> None:
        result = job.work()
        self._count += 1
        heapq.heappush(self._done, (self._site.clock.now + self._site.last_took, self._count, Done(job, result)))

    def next(self, timeout: float) -> Done | None:
        clock = self._site.clock
        if self._done and self._done[0][0] <= clock.now + timeout:
            due, _, done = heapq.heappop(self._done)
            clock.wait(max(0.0, due - clock.now))
            return done
        clock.wait(timeout)
        return None


class Inline:
    """Performs each job when it is submitted, in the caller's thread."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._done: list[Done] = []
        self._wait = wait

    def submit(self, job: Job) -> None:
        self._done.append(Done(job, job.work()))

    def next(self, timeout: float) -> Done | None:
        if self._done:
            return self._done.pop(0)
        self._wait(timeout)
        return None


class Simulation:
    """One run in one simulated world."""

    def __init__(self, plan: Plan, scripts: dict[str, Script] | None = None, policy: Policy | None = None) -> None:
        self.plan = plan
        self.clock = Clock()
        self.stop = Stop(self.clock)
        self.disk = Disk()
        self.site = Site(plan, scripts or {}, self.clock, self.disk)
        self.operator = Operator(self.site, policy or {})
        self.watcher = Watcher()
        self.side_by_side = False
        self.mask: Callable[[str], str] = lambda text: text

    def world(self) -> World:
        workers: Workers = SideBySide(self.site) if self.side_by_side else Inline(self.clock.wait)
        return World(
            clock=self.clock,
            stop=self.stop,
            workers=workers,
            targets=self.site,
            operator=self.operator,
            watcher=self.watcher,
            step=make_step,
            draw_wait=draw_wait,
            mask=self.mask,
        )

    def engine(self, fuse: Fuse | None = None, room: int | None = None) -> Engine:
        """A new process: it starts the run, or goes on from what is durable."""
        self.site.fuse = fuse or Fuse()
        return self.engine_on(MemoryJournal(self.disk, self.site.fuse, room))

    def engine_on(self, journal: Journal, torn: Torn | None = None) -> Engine:
        """A new process that writes into `journal`."""
        engine = Engine(self.plan, journal, self.fold(), self.world(), ACTOR)
        self.site.referee.process_begins()
        if isinstance(engine.state, s.NotStarted):
            raw = encode_plan(self.plan)
            engine.record(e.RunStarted(plan=digest(raw), runbook="simulated", environment="drill", mode="graceful"))
        else:
            engine.record(e.RunResumed(torn_bytes=torn.bytes if torn else 0, torn_sha256=torn.sha256 if torn else ""))
        return engine

    def run(self, *crashes: int) -> Result:
        """Run to the end or a question; the first process is killed at its point number `crashes[0]`, and so on."""
        try:
            return self._run(crashes)
        except Foul as foul:
            raise AssertionError(f"{foul}\nafter {self.kinds()}\nwith {self.site.calls}") from foul

    def _run(self, crashes: Sequence[int]) -> Result:
        for at in crashes:
            try:
                return self._judged(self.engine(Fuse(at)).run())
            except Crash:
                self.clock.wait(REPAIR)
            if isinstance(state := self.fold(), s.Ended):
                return self._judged(state)
        engine = self.engine()
        result = engine.run()
        assert engine.state == self.fold(), "where the run stands is the fold over its entries"
        return self._judged(result)

    def points(self) -> list[str]:
        """The points at which the present process could have been killed."""
        return self.site.fuse.passed

    def fold(self) -> s.State:
        """Where the run stands by its durable entries."""
        state: s.State = s.NotStarted()
        for event in self.disk.events:
            state = s.evolve(self.plan, state, event)
        return state

    def kinds(self) -> list[str]:
        """The run in short: `apply-started a`, `step-done a` and so on."""
        words = ((type(event).__struct_config__.tag, getattr(event, "step", "")) for event in self.disk.events)
        return [f"{tag} {name}".strip() for tag, name in words]

    def events(self, kind: type[K]) -> list[K]:
        """The events of that kind."""
        return [event for event in self.disk.events if isinstance(event, kind)]

    def only(self, kind: type[K]) -> K:
        """The one event of that kind."""
        (event,) = self.events(kind)
        return event

    def outcome(self) -> tuple[object, dict[str, str]]:
        """What came of it: how the run finished, whether the service is well, and what stands at the site."""
        return self.fold(), dict(self.site.effects())

    def _judged(self, result: Result) -> Result:
        self.disk.head()
        match result:
            case s.Ended():
                self.site.referee.run_ended()
            case Waiting(question=question):
                assert isinstance(state := self.fold(), s.Paused)
                assert state.question == question
            case Interrupted():
                assert isinstance(self.disk.events[-1], e.RunStopped)
        return result
