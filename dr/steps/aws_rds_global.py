"""`aws.rds.global.switchover` and `.failover`: another region becomes the writer of an Aurora global database."""

from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, Observation, Reversal, Step, target
from dr.core.waiting import Seen, await_effect
from dr.targets.cloud import CloudAccount, GlobalCluster, ManagedDatabases, NotReady, SourceMayWrite
from dr.targets.protocols import Conflict

EVERY: Final = 2.0
"""Seconds between two looks; a change of roles takes a minute at best."""
BEGINS_WITHIN: Final = 60.0
"""Seconds after which a change that was asked for must at least show."""
AVAILABLE: Final = "available"


class AwsRdsGlobal(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the two kinds on an Aurora global database share. Not a kind itself."""

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account, in the region of `to`: it answers when the other region is gone."""
    global_cluster: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]
    """Identifier of the global database."""
    to: Annotated[str, msgspec.Meta(pattern=r"^arn:[^:\s]+:rds:[a-z0-9-]+:\d{12}:cluster:\S+$")]
    """ARN of the cluster that writes afterwards."""
    within: Duration = duration("15m")
    """How long it may take."""

    def takes(self) -> float:
        return self.within

    def preview(self, here: Here) -> Evidence:
        """The global database as it stands."""
        return _facts(self._read(here))

    def observe(self, here: Here) -> Observation:
        return self._await(here, self.to)

    def _await(self, here: Here, writer: str) -> Observation:
        def look() -> Seen:
            now = self._read(here)
            done = now.writer == writer and not now.changing
            words = f"{self.global_cluster} is {now.changing or now.status}, its writer {now.writer or 'nobody'}"
            return Seen(done=done, settled=not now.changing, facts=_facts(now), words=words)

        return await_effect(here, look, within=self.within, every=EVERY, begins_within=BEGINS_WITHIN)

    def _is_due(self, now: GlobalCluster, to: str) -> bool:
        """Whether that member has still to become the writer.

        Raises:
            LookupError: it is no member.
            NotReady: another change is under way.
        """
        if to not in now.members:
            raise LookupError(f"{to} is no member of {self.global_cluster}, only {', '.join(now.members)}")
        if now.changing:
            raise NotReady(f"{self.global_cluster} is {now.changing} already")
        return now.writer != to

    def _read(self, here: Here) -> GlobalCluster:
        return self._databases(here).global_cluster(self.global_cluster)

    def _databases(self, here: Here) -> ManagedDatabases:
        return here.reach(CloudAccount, self.account).databases


class AwsRdsGlobalSwitchover(AwsRdsGlobal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make another region the writer of an Aurora global database, without loss; both regions must be well.

    Undone by the region that wrote before.
    """

    kind: ClassVar[str] = "aws.rds.global.switchover"
    reversal: ClassVar[Reversal] = "undo"

    def summary(self) -> str:
        return f"Switch {self.global_cluster} of {self.account} over to {self.to}"

    def apply(self, here: Here) -> Evidence:
        return self._switch_over(here, self.to)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a writer that somebody else has chosen since then is a Conflict."""
        writer = self._read(here).writer
        if writer not in {self.to, str(before["writer"])}:
            raise Conflict(f"the writer of {self.global_cluster} is {writer or 'nobody yet'}, not {self.to} any more")
        return self._switch_over(here, str(before["writer"]))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        return self._await(here, str(before["writer"]))

    def _switch_over(self, here: Here, to: str) -> Evidence:
        now = self._read(here)
        if self._is_due(now, to):
            self._refuse_unless_well(now, to)
            self._databases(here).switch_over_globally(self.global_cluster, to)
        return {"before": _facts(now)}

    def _refuse_unless_well(self, now: GlobalCluster, to: str) -> None:
        """Safety rule 9: a planned change refuses before it touches anything. Raises NotReady."""
        if now.status != AVAILABLE:
            raise NotReady(f"{self.global_cluster} is {now.status}; it is switched over only when it is {AVAILABLE}")
        if to in now.behind:
            raise NotReady(f"{to} does not have what the writer has: it is pending-resync")


class AwsRdsGlobalFailover(AwsRdsGlobal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make another region the writer of an Aurora global database whose writing region is gone. Cannot be undone.

    What had not been replicated is lost. Aurora tries to keep writes from the region that is gone, and cannot promise
    it; so the step refuses unless the runbook says that an earlier step has fenced it.
    """

    kind: ClassVar[str] = "aws.rds.global.failover"
    reversal: ClassVar[Reversal] = "impossible"

    primary_is_fenced: bool = False
    """An earlier step keeps all writes from the region that wrote (its application is stopped or cut off, say)."""

    def summary(self) -> str:
        return f"Fail {self.global_cluster} of {self.account} over to {self.to}, losing what it does not have"

    def apply(self, here: Here) -> Evidence:
        now = self._read(here)
        if self._is_due(now, self.to):
            if not self.primary_is_fenced:
                raise SourceMayWrite(
                    f"{now.writer or 'the former writer'} may still take writes: fence it, then say "
                    "`primary_is_fenced: true`"
                )
            self._databases(here).fail_over_globally(self.global_cluster, self.to)
        return {"before": _facts(now)}


def _facts(cluster: GlobalCluster) -> Evidence:
    return {"status": cluster.status, "writer": cluster.writer, "members": list(cluster.members)}
