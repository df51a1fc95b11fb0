"""`database.restore`: a server is made anew from a backup, and replays what was archived since.

It comes up as a standby of nobody: it can be asked whether it is whole, and takes no write before `database.failover`
promotes it (safety rule 10). So a restore beside a primary that works does no harm.
"""

from typing import Annotated, ClassVar

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.targets.protocols import Refused
from dr.targets.switching import DatabaseServer


class DatabaseRestore(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Restore a server from its newest backup, and start it as a standby that nobody writes to.

    Only a server that is down, or has no data yet, is restored. What it has is kept beside its data directory, never
    deleted. The backup is checked by its manifest (pg_verifybackup), or by the tool that fetches it.
    """

    kind: ClassVar[str] = "database.restore"
    reversal: ClassVar[Reversal] = "undo"

    server: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is restored; its `backup` in dr.toml says from what."""

    def summary(self) -> str:
        return f"Restore {self.server} from its newest backup, as a standby; what it has now is kept beside its data"

    def preview(self, here: Here) -> Evidence:
        """How the server stands."""
        return {self.server: self._reach(here).situation()}

    def observe(self, here: Here) -> Observation:
        server = self._reach(here)
        standing = {self.server: server.situation()}
        done = standing[self.server] == "standby" and server.restored() == _owner(here)
        return InPlace(standing) if done else NotInPlace(standing)

    def apply(self, here: Here) -> Evidence:
        server = self._reach(here)
        server.take_over()
        situation = server.situation()
        if situation in {"fenced", "standby"} and server.restored() == _owner(here):
            server.start()
            return {}
        if situation in {"writable", "standby"}:
            raise Refused(f"{self.server} runs ({situation}): stop it first, or restore another server")
        facts = server.restore(_owner(here))
        here.say(f"{self.server} is restored from {facts}")
        server.start()
        return facts

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Shut it down; what it had before stays beside it."""
        server = self._reach(here)
        if server.situation() == "writable":
            raise Refused(f"{self.server} has become a primary, and stays that")
        if server.situation() == "standby":
            server.stop()
        return before

    def _reach(self, here: Here) -> DatabaseServer:
        return here.reach(DatabaseServer, self.server)


def _owner(here: Here) -> str:
    return f"{here.run}-{here.step}"
