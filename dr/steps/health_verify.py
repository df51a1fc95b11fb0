"""`health.verify`: the service is well, and stays so for a while. Also what a runbook's `steady_state` is.

It only looks. What it cannot reach is a finding, not a doubt: a website that does not answer is not well.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Annotated, ClassVar

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, target, target_fields
from dr.core.tolerance import Tolerance, accepts, say
from dr.targets.protocols import Database, HttpEndpoint, HttpReply, TargetUnreachable

AT_ONCE = 16
"""Requests that are under way at the same time, at most."""
SHORTEST_ROUND = 0.05
MOST_FINDINGS = 20
"""Findings that go into the evidence (safety rule 15)."""
MOST_WORDS = 300
"""Characters of one of them: a query's value may be a whole page."""


class Finding(msgspec.Struct, frozen=True):
    """What one check saw: whether it is within its tolerance, and the words for it."""

    well: bool
    words: str
    unreachable: bool = False


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long that share of the probes may take."""

    at_most: Duration
    percentile: Annotated[float, msgspec.Meta(gt=0, le=100)] = 95


class HttpCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="probe", tag="http"):
    """GET a page, several times side by side."""

    target: Annotated[str, target(HttpEndpoint)]
    path: Annotated[str, msgspec.Meta(pattern=r"^/\S*$")] = "/"
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    status: Tolerance = 200
    body: Tolerance | None = None
    """What the page must be; of one that is not UTF-8, as far as it can be read."""
    latency: Latency | None = None
    timeout: Duration = duration("5s")

    def summary(self) -> str:
        slow = f" ({self.latency.percentile:g}% within {self.latency.at_most})" if self.latency else ""
        return f"{self.target} {self.path} answers {say(self.status)}{slow}"

    def prepare(self, here: Here, requests: Executor) -> Callable[[], Finding]:
        endpoint = here.reach(HttpEndpoint, self.target)
        timeout = min(float(self.timeout), here.remaining())

        def get(_: int) -> HttpReply | str:
            try:
                return endpoint.get(self.path, timeout=timeout)
            except TargetUnreachable as error:
                return str(error).removeprefix(f"{self.target} {self.path}: ")

        return lambda: self.judge(list(requests.map(get, range(self.probes))))

    def judge(self, replies: Sequence[HttpReply | str]) -> Finding:
        """What the answers (or the reasons why there is none) say."""
        name = f"{self.target} {self.path}"
        wrong = Counter(what for what in map(self._wrong_with, replies) if what)
        if wrong:
            told = ", ".join(f"{what} ({count} of {len(replies)})" for what, count in wrong.items())
            return Finding(well=False, words=f"{name}: {told}")
        percent = self.latency.percentile if self.latency else 100.0
        taken = percentile([reply.seconds for reply in replies if isinstance(reply, HttpReply)], percent)
        words = f"{name}: {percent:g}% within {taken * 1000:.0f} ms"
        if self.latency is not None and taken > self.latency.at_most:
            return Finding(well=False, words=f"{words}, well is within {self.latency.at_most}")
        return Finding(well=True, words=words)

    def _wrong_with(self, reply: HttpReply | str) -> str:
        """What is wrong with an answer; empty when nothing is."""
        if isinstance(reply, str):
            return reply
        if not accepts(self.status, reply.status):
            return f"status {reply.status}, well is {say(self.status)}"
        if self.body is not None and not accepts(self.body, reply.body.decode("utf-8", "replace")):
            return f"the page is not {say(self.body)}"
        return ""


class SqlCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="probe", tag="sql"):
    """The value a query gives; it runs in a READ ONLY transaction."""

    target: Annotated[str, target(Database)]
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    value: Tolerance

    def summary(self) -> str:
        return f"{self.target} says {say(self.value)} to its query"

    def prepare(self, here: Here, requests: Executor) -> Callable[[], Finding]:
        database = here.reach(Database, self.target)

        def look() -> Finding:
            value = database.scalar(self.query)
            well = accepts(self.value, value)
            return Finding(
                well=well, words=f"{self.target}: {value}" + ("" if well else f", well is {say(self.value)}")
            )

        return look


class ReplicationCheck(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="probe", tag="replication"
):
    """How far a standby is behind its primary."""

    primary: Annotated[str, target(Database)]
    standby: Annotated[str, target(Database)]
    max_lag: Duration

    def summary(self) -> str:
        return f"{self.standby} is at most {self.max_lag} behind {self.primary}"

    def prepare(self, here: Here, requests: Executor) -> Callable[[], Finding]:
        primary = here.reach(Database, self.primary)
        standby = here.reach(Database, self.standby)

        def look() -> Finding:
            lag = standby.lag_behind(primary)
            words = f"{self.standby}: {lag.seconds:.3g} s ({lag.bytes} bytes) behind {self.primary}"
            well = lag.seconds <= self.max_lag
            return Finding(well=well, words=words if well else f"{words}, well is at most {self.max_lag}")

        return look


Check = HttpCheck | SqlCheck | ReplicationCheck


class HealthVerify(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verify that all checks hold, and keep holding.

    Within `within` the checks must begin to hold, all of them in the same round, and then for `hold` without a break.
    """

    kind: ClassVar[str] = "health.verify"
    acts: ClassVar[bool] = False

    checks: Annotated[tuple[Check, ...], msgspec.Meta(min_length=1, max_length=50)]
    within: Duration = duration("30s")
    """How long it may take until the checks begin to hold."""
    every: Duration = duration("1s")
    """Time between the beginnings of two rounds."""
    hold: Duration = duration("0s")
    """How long they must hold."""

    def __post_init__(self) -> None:
        if self.every < SHORTEST_ROUND:
            raise ValueError(f"every: at least {SHORTEST_ROUND:g} s, or the checks themselves become a flood")

    def summary(self) -> str:
        hold = f", for {self.hold}" if self.hold else ""
        return f"Verify within {self.within}{hold}: " + "; ".join(check.summary() for check in self.checks)

    def takes(self) -> float:
        return self.within + self.hold

    def preview(self, here: Here) -> Evidence:
        """What one round of the checks sees."""
        with ThreadPoolExecutor(AT_ONCE, "check") as checks, ThreadPoolExecutor(AT_ONCE, "request") as requests:
            findings = self._round(here, checks, requests)
        return {
            "well": _words(finding for finding in findings if finding.well),
            "not_well": _words(finding for finding in findings if not finding.well),
        }

    def observe(self, here: Here) -> Observation:
        with ThreadPoolExecutor(AT_ONCE, "check") as checks, ThreadPoolExecutor(AT_ONCE, "request") as requests:
            return self._watch(here, checks, requests)

    def _watch(self, here: Here, checks: Executor, requests: Executor) -> Observation:
        latest = here.now() + self.within
        well_since: float | None = None
        rounds = 0
        while True:
            began = here.now()
            findings = self._round(here, checks, requests)
            rounds += 1
            if wrong := _words(finding for finding in findings if not finding.well):
                well_since = None
                here.say("; ".join(wrong))
                if here.now() >= latest:
                    return NotInPlace({"findings": wrong, "rounds": rounds})
            else:
                # Counted from the end of the first good round: one slow round is no proof of lasting.
                well_since = here.now() if well_since is None else well_since
                held = here.now() - well_since
                if held >= self.hold:
                    return InPlace({"held": round(held, 3), "rounds": rounds, "seen": _words(findings)})
                here.say(f"well, for {held:.1f} of {self.hold}")
            here.sleep(max(0.0, began + self.every - here.now()))

    def _round(self, here: Here, checks: Executor, requests: Executor) -> list[Finding]:
        """All checks once, side by side. What was not reached is reached anew in the next round."""
        looks = [_prepared(here, check, requests) for check in self.checks]
        findings = list(checks.map(_look, looks))
        for check, finding in zip(self.checks, findings, strict=True):
            if finding.unreachable:
                for name, _ in target_fields(check):
                    here.release(name)
        return findings


def _prepared(here: Here, check: Check, requests: Executor) -> Callable[[], Finding]:
    """The check with its targets reached, or the finding that they cannot be."""
    try:
        return check.prepare(here, requests)
    except TargetUnreachable as error:
        finding = Finding(well=False, words=str(error), unreachable=True)
        return lambda: finding


def _look(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except TargetUnreachable as error:
        return Finding(well=False, words=str(error), unreachable=True)
    except LookupError as error:
        return Finding(well=False, words=str(error))


def _words(findings: Iterable[Finding]) -> list[str]:
    """The findings as evidence."""
    return [finding.words[:MOST_WORDS] for finding in islice(findings, MOST_FINDINGS)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
