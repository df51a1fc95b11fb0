"""`aws.rds.promote`, `.failover` and `.switchover`: databases that Amazon RDS and Aurora run change their roles."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Final

import msgspec

from dr.core.duration import Duration, duration
from dr.core.step import Evidence, Here, Observation, Reversal, Step, target
from dr.core.waiting import Seen, await_effect
from dr.targets.cloud import CloudAccount, ManagedCluster, ManagedDatabases, ManagedInstance, NotReady, SourceMayWrite
from dr.targets.protocols import Conflict

EVERY: Final = 2.0
"""Seconds between two looks; a change of roles takes half a minute at best."""
BEGINS_WITHIN: Final = 60.0
"""Seconds after which a change that was asked for must at least show."""
AVAILABLE: Final = "available"

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")]


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

        def look() -> Seen:
            now = self._databases(here).instance(self.replica)
            idle = now.status == AVAILABLE
            # A replica that is being backed up, say, is not on its way to be promoted.
            settled = idle or (not here.attempt and bool(now.follows))
            words = f"{self.replica} is {now.status}"
            return Seen(done=idle and not now.follows, settled=settled, facts=_instance_facts(now), words=words)

        return _await(here, look, self.within)

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
        def look() -> Seen:
            now = self._read(here)
            idle = now.status == AVAILABLE
            words = f"{self.cluster} is {now.status}, its writer {now.writer or 'nobody'}"
            return Seen(done=idle and now.writer == writer, settled=idle, facts=_cluster_facts(now), words=words)

        return _await(here, look, self.within)

    def _read(self, here: Here) -> ManagedCluster:
        return here.reach(CloudAccount, self.account).databases.cluster(self.cluster)


class AwsRdsSwitchover(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make an Oracle read replica of Amazon RDS the primary, and its source a replica of it, without loss (Data Guard).

    RDS offers this for Oracle alone; for others, `aws.rds.promote`. Undone by switching over to the former primary.
    """

    kind: ClassVar[str] = "aws.rds.switchover"
    reversal: ClassVar[Reversal] = "undo"

    account: Annotated[str, target(CloudAccount)]
    """Target that is the account, in the region of the replica."""
    replica: Identifier
    within: Duration = duration("30m")
    """How long it may take."""

    def summary(self) -> str:
        return f"Switch over to the read replica {self.replica} of {self.account}"

    def takes(self) -> float:
        return self.within

    def preview(self, here: Here) -> Evidence:
        """The replica as it stands."""
        return _roles(self._databases(here).instance(self.replica))

    def observe(self, here: Here) -> Observation:
        return self._await(here, lambda now: not now.follows and bool(now.followers))

    def apply(self, here: Here) -> Evidence:
        now = self._databases(here).instance(self.replica)
        if not now.follows and not now.followers:
            raise LookupError(f"{self.replica} follows no instance with which it could change roles")
        if now.follows:
            _refuse_unless_idle(self.replica, now.status)
            self._databases(here).switch_over(self.replica)
        return {"before": _roles(now)}

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Only what this step did is undone: a former primary that follows another one by now is a Conflict."""
        former = str(before["follows"])
        if former.startswith("arn:"):
            raise LookupError(f"the former primary {former} stands in another region: switch over to it from there")
        now = self._databases(here).instance(former)
        if now.follows:
            if now.follows != self.replica:
                raise Conflict(f"{former} follows {now.follows}, not {self.replica} any more")
            _refuse_unless_idle(former, now.status)
            self._databases(here).switch_over(former)
        return {"before": _roles(now)}

    def observe_undone(self, here: Here, before: Evidence) -> Observation:
        return self._await(here, lambda now: now.follows == before["follows"])

    def _await(self, here: Here, done: Callable[[ManagedInstance], bool]) -> Observation:
        def look() -> Seen:
            now = self._databases(here).instance(self.replica)
            idle = now.status == AVAILABLE
            words = f"{self.replica} is {now.status}"
            return Seen(done=idle and done(now), settled=idle, facts=_roles(now), words=words)

        return _await(here, look, self.within)

    def _databases(self, here: Here) -> ManagedDatabases:
        return here.reach(CloudAccount, self.account).databases


def _await(here: Here, look: Callable[[], Seen], within: float) -> Observation:
    return await_effect(here, look, within=within, every=EVERY, begins_within=BEGINS_WITHIN)


def _refuse_unless_idle(name: str, status: str) -> None:
    """Safety rule 9: a planned change refuses before it touches anything. Raises NotReady."""
    if status != AVAILABLE:
        raise NotReady(f"{name} is {status}; roles are changed only when it is {AVAILABLE}")


def _roles(instance: ManagedInstance) -> Evidence:
    return {**_instance_facts(instance), "followers": list(instance.followers)}


def _instance_facts(instance: ManagedInstance) -> Evidence:
    return {"status": instance.status, "follows": instance.follows}


def _cluster_facts(cluster: ManagedCluster) -> Evidence:
    return {"status": cluster.status, "writer": cluster.writer, "members": list(cluster.members)}
