"""`aws.rds.promote` and `aws.rds.failover`: databases that Amazon RDS and Aurora run change their roles."""

from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.cloud import CloudAccount, ManagedCluster, ManagedDatabases, ManagedInstance
from dr.targets.protocols import Conflict

EVERY: Final = 2.0
"""Seconds between two looks; a change of roles takes half a minute at best."""
BEGINS_WITHIN: Final = 60.0
"""Seconds after which a change that was asked for must at least show."""
AVAILABLE: Final = "available"

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]


class SourceMayWrite(Exception):
    """The instance that a replica follows may still take writes (safety rule 10)."""


class AwsRdsPromote(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Promote a read replica of Amazon RDS to an instance of its own. Cannot be undone.

    Two writable primaries must never be: while RDS cannot show that the source is gone, the step refuses, unless the
    runbook says that an earlier step has fenced it. What had not been replicated is lost.
    """

    kind: ClassVar[str] = "aws.rds.promote"
    reversal: ClassVar[Reversal] = "impossible"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account, in the region of the replica."""
    replica: Identifier
    source_is_fenced: bool = False
    """An earlier step keeps all writes from the source, in a way that RDS does not show (a security group, say)."""
    within: Duration = duration("30m")
    """How long it may take."""

    def summary(self) -> str:
        fenced = "; its source is fenced, the runbook says" if self.source_is_fenced else ""
        return f"Promote the read replica {self.replica} of {self.account}{fenced}"

    def takes(self) -> float:
        return self.within

    def preview(self, here: Here) -> Evidence:
        """The replica as it stands."""
        return _instance_facts(self._databases(here).instance(self.replica))

    def observe(self, here: Here) -> Observation:
        """After the promotion was asked for, it is waited for."""
        began = here.now()
        while True:
            now = self._databases(here).instance(self.replica)
            idle = now.status == AVAILABLE
            if idle and not now.follows:
                return InPlace(_instance_facts(now))
            waited = here.now() - began
            if not here.attempt and now.follows:
                return NotInPlace(_instance_facts(now))
            if waited >= self.within or (idle and waited >= min(BEGINS_WITHIN, self.within)):
                return NotInPlace(_instance_facts(now))
            here.say(f"{self.replica} is {now.status}")
            here.sleep(min(EVERY, self.within - waited))

    def apply(self, here: Here) -> Evidence:
        databases = self._databases(here)
        now = databases.instance(self.replica)
        if now.follows:
            if not self.source_is_fenced:
                self._refuse_unfenced(databases, now.follows)
            databases.promote(self.replica)
        return {"before": _instance_facts(now)}

    def _refuse_unfenced(self, databases: ManagedDatabases, source: str) -> None:
        """Raises SourceMayWrite, unless RDS shows that nobody can write to the source."""
        if source.startswith("arn:"):
            raise SourceMayWrite(
                f"the source {source} stands in another region and may still take writes: fence it, "
                "then say `source_is_fenced: true`"
            )
        status = databases.instance(source).status
        if status != "stopped":
            raise SourceMayWrite(
                f"the source {source} is {status} and may still take writes: fence it, "
                "then say `source_is_fenced: true`"
            )

    def _databases(self, here: Here) -> ManagedDatabases:
        return here.reach(CloudAccount, self.account).databases


class AwsRdsFailover(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make another member the writer of an Aurora (or Multi-AZ) cluster. Undone by the member that wrote before.

    The cluster has one storage and fences the old writer itself; connections to it end.
    """

    kind: ClassVar[str] = "aws.rds.failover"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account."""
    cluster: Identifier
    to: Identifier
    """The member that writes afterwards."""
    within: Duration = duration("5m")
    """How long it may take."""

    def summary(self) -> str:
        return f"Make {self.to} the writer of the cluster {self.cluster} of {self.account}"

    def takes(self) -> float:
        return self.within

    def preview(self, here: Here) -> Evidence:
        """The cluster as it stands."""
        return _cluster_facts(self._read(here))

    def observe(self, here: Here) -> Observation:
        return self._await(here, self.to)

    def apply(self, here: Here) -> Evidence:
        return self._fail_over(here, self.to)

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a writer that somebody else has chosen since then is a Conflict."""
        writer = self._read(here).writer
        if writer not in {self.to, str(before["writer"])}:
            raise Conflict(f"the writer of {self.cluster} is {writer or 'nobody yet'}, not {self.to} any more")
        return self._fail_over(here, str(before["writer"]))

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        return self._await(here, str(before["writer"]))

    def _fail_over(self, here: Here, to: str) -> Evidence:
        now = self._read(here)
        if to not in now.members:
            raise LookupError(f"{to or 'nobody'} is no member of {self.cluster}, only {', '.join(now.members)}")
        if now.writer != to:
            here.reach(CloudAccount, self.account).databases.fail_over(self.cluster, to)
        return {"before": _cluster_facts(now)}

    def _await(self, here: Here, writer: str) -> Observation:
        """Wait for that writer once a change was asked for; and always while the cluster is changing."""
        began = here.now()
        while True:
            now = self._read(here)
            idle = now.status == AVAILABLE
            if idle and now.writer == writer:
                return InPlace(_cluster_facts(now))
            waited = here.now() - began
            begun = min(BEGINS_WITHIN, self.within) if here.attempt else 0.0
            if waited >= self.within or (idle and waited >= begun):
                return NotInPlace(_cluster_facts(now))
            here.say(f"{self.cluster} is {now.status}, its writer {now.writer or 'nobody'}")
            here.sleep(min(EVERY, self.within - waited))

    def _read(self, here: Here) -> ManagedCluster:
        return here.reach(CloudAccount, self.account).databases.cluster(self.cluster)


def _instance_facts(instance: ManagedInstance) -> Evidence:
    return {"status": instance.status, "follows": instance.follows}


def _cluster_facts(cluster: ManagedCluster) -> Evidence:
    return {"status": cluster.status, "writer": cluster.writer, "members": list(cluster.members)}
