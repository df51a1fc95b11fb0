"""`queries.terminate`: the sessions of one application or feature end, and stay away.

Switching a feature off ends no query that is already running: in the outage of 15 May 2023 the database stayed full of
them for half an hour.
"""

from typing import Annotated, ClassVar, Literal

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, target
from dr.targets.protocols import Database, Session, SessionMatch

EVERY = 0.05
"""Seconds between two looks."""
QUIET = 5 * EVERY
"""How long no session must be seen before the rounds end."""
MOST_LISTED = 20
"""Sessions that are named in evidence; the others are counted."""

State = Literal["active", "idle", "idle in transaction", "idle in transaction (aborted)"]
AT_WORK: tuple[State, ...] = ("active", "idle in transaction", "idle in transaction (aborted)")
"""In these a session runs a query or holds locks. An idle one is left alone: a pool keeps it for its next user."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class QueriesTerminate(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the database sessions of one application or feature, round after round, until none comes back.

    Sessions of dr itself, of replication and of the server's own workers are never touched.
    """

    kind: ClassVar[str] = "queries.terminate"

    database: Annotated[str, target(Database)]
    application: Name | None = None
    """The sessions' application_name."""
    feature: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    """The feature named by the leading comment of their query: `/*feature='x'*/ select ...`."""
    states: Annotated[tuple[State, ...], msgspec.Meta(min_length=1)] = AT_WORK
    older_than: Duration = duration("0s")
    """Only sessions whose query began that long ago."""
    gone_for: Duration = duration("1s")
    """How long no such session may be seen until they count as ended."""

    def __post_init__(self) -> None:
        if self.application is None and self.feature is None:
            raise ValueError("give `application` or `feature` (or both): without them every session would be ended")

    def summary(self) -> str:
        older = f", running for {self.older_than} or longer" if self.older_than else ""
        return f"End {self._whose()}{older} on {self.database}, until none is seen for {self.gone_for}"

    def takes(self) -> float:
        return self.gone_for

    def preview(self, here: Here) -> Evidence:
        """The sessions that would be ended now."""
        return _listed("would_end", self._matching(here, here.now()))

    def observe(self, here: Here) -> Observation:
        began = here.now()
        while True:
            if found := self._matching(here, began):
                return NotInPlace(_listed("still_there", found))
            if here.now() - began >= self.gone_for:
                return InPlace({"none_seen_for": str(self.gone_for)})
            here.sleep(min(EVERY, self.gone_for))

    def apply(self, here: Here) -> Evidence:
        """A first look can miss a loop that is idle just then, so the rounds go on until some looks found none."""
        database = here.reach(Database, self.database)
        began = quiet_since = here.now()
        ended: dict[tuple[int, str], Session] = {}
        found: tuple[Session, ...] = ()
        while here.now() - quiet_since < QUIET and here.remaining() > QUIET:
            if found := self._matching(here, began):
                database.terminate(found)
                ended |= {(session.pid, session.started): session for session in found}
                here.say(f"told {len(ended)} sessions to end")
                quiet_since = here.now()
            here.sleep(EVERY)
        return {**_listed("told_to_end", tuple(ended.values())), "left": len(found)}

    def _matching(self, here: Here, since: float) -> tuple[Session, ...]:
        """The sessions that are meant, now.

        A loop of short queries is idle at most looks. So a session that is idle now, and began a matching query after
        `since`, counts as active.
        """
        match = SessionMatch(application=self.application, feature=self.feature, older_than=self.older_than)
        watched = here.now() - since
        loops = "active" in self.states and not self.older_than
        return tuple(
            session
            for session in here.reach(Database, self.database).sessions(match)
            if session.state in self.states or (loops and session.state == "idle" and session.age < watched)
        )

    def _whose(self) -> str:
        feature = f"queries of the feature {self.feature!r}" if self.feature else "sessions"
        return feature + (f" of the application {self.application!r}" if self.application else "")


def _listed(name: str, sessions: tuple[Session, ...]) -> Evidence:
    """How many, and which; never the text of their queries, which may hold anything."""
    shown = [msgspec.structs.replace(session, age=round(session.age, 3)) for session in sessions[:MOST_LISTED]]
    return {name: len(sessions), "sessions": msgspec.to_builtins(shown)}
