"""`database.restore`: a server is made anew from a backup, and replays what was archived since, up to a moment or all.

It comes up as a standby of nobody: it can be asked whether it is whole, and takes no write before `database.failover`
promotes it (safety rule 10). So a restore beside a primary that works does no harm.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Reversal, Step, target
from dr.core.timestamp import parse_iso
from dr.targets.protocols import Refused
from dr.targets.switching import RUNS_FENCED, DatabaseServer, Replay

EVERY = 0.2
"""Seconds between two looks at the replay."""


class DatabaseRestore(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Restore a server from its newest backup, replay the archive, and leave it a standby that nobody writes to.

    Only a server that is down, or has no data yet, is restored. What it has is kept beside its data directory, never
    deleted. The backup is checked by its manifest (pg_verifybackup), or by the tool that fetches it.
    """

    kind: ClassVar[str] = "database.restore"
    reversal: ClassVar[Reversal] = "undo"

    server: Annotated[str, target(DatabaseServer, may_be_down=True)]
    """The server that is restored; its `backup` in dr.toml says from what."""
    until: Annotated[str, msgspec.Meta(max_length=40)] = ""
    """The last moment whose transactions are replayed, with its zone: `2023-05-15T09:59:59-04:00`. The newest backup
    that was complete then is taken. Empty: everything in the archive is replayed."""

    def __post_init__(self) -> None:
        self._moment()

    def summary(self) -> str:
        moment = self._moment()
        backup = f"the newest backup from before {moment}, up to that moment" if moment else "its newest backup"
        return f"Restore {self.server} from {backup}, as a standby; what it has now is kept beside its data"

    def preview(self, here: Here) -> Evidence:
        """How the server stands, and which backup would be taken."""
        server = self._reach(here)
        try:
            backup = server.backup(self._moment())
        except Refused as error:
            backup = str(error)
        return {self.server: server.situation(), "backup": backup}

    def observe(self, here: Here) -> Observation:
        server = self._reach(here)
        if server.restored() != _owner(here):
            return NotInPlace({self.server: server.situation()})
        replay = self._replayed(here, server)
        if replay.state == "down":
            return NotInPlace({self.server: server.situation()})
        if wrong := self._wrong(replay):
            return NotInPlace({self.server: replay.state, "findings": [wrong]})
        return InPlace({self.server: "standby", "committed_until": replay.until, "wal_file": replay.file})

    def apply(self, here: Here) -> Evidence:
        server, facts = self._reach(here), {}
        server.take_over()
        ours = server.restored() == _owner(here)
        if not ours or server.replay().state == "down":
            situation = server.situation()
            if situation in ("writable", *RUNS_FENCED):
                raise Refused(f"{self.server} runs ({situation}): stop it first, or restore another server")
            if not ours or situation != "fenced":
                facts = dict(server.restore(_owner(here), self._moment(), here.say))
                here.say(f"{self.server} is restored from {facts}")
            server.wake()
        if wrong := self._wrong(self._replayed(here, server)):
            raise Refused(wrong)
        return facts

    def undo(self, here: Here, before: Evidence) -> Evidence:
        """Shut it down; what it had before stays beside it. A server that this step has not restored is left alone."""
        server = self._reach(here)
        if server.restored() != _owner(here):
            return before
        state = server.replay().state
        if state == "writable":
            raise Refused(f"{self.server} has become a primary, and stays that")
        if state != "down":
            with suppress(Refused):  # it is down, and not in order: it was at its start still, and is but a copy
                server.stop()
        return before

    def _replayed(self, here: Here, server: DatabaseServer) -> Replay:
        """How it stands when it replays no more, for now."""
        said = ""
        while (replay := server.replay()).state == "replaying":
            words = f"{self.server} replays {replay.file or 'the archive'}; {_has(replay)}"
            if words != said:
                here.say(said := words)
            here.sleep(EVERY)
        return replay

    def _wrong(self, replay: Replay) -> str:
        """Why it is not what it was to be; empty when it is."""
        match replay.state:
            case "held" if self.until:
                return ""
            case "exhausted" if not self.until:
                return ""
            case "exhausted":
                return (
                    f"{self.server}: the archive ends before {self._moment()}; {_has(replay)}. If a primary is left, "
                    "have it archive what it has written (shut it down, or select pg_switch_wal()); then answer `retry`"
                )
            case "starved":
                return f"{self.server}: {replay.why}; {_has(replay)}. Answer `retry` when that is mended"
            case "held":
                return f"{self.server}: its replay is paused; {_has(replay)}"
            case "down":
                return f"{self.server} ended while it replayed the archive; its own log says why"
            case _:
                return f"{self.server} takes writes"

    def _moment(self) -> str:
        """`until` in UTC, as PostgreSQL, pgBackRest and find all read it; empty without one."""
        if not self.until:
            return ""
        try:
            return datetime.fromtimestamp(parse_iso(self.until), UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        except ValueError as error:
            raise ValueError(f"until: {error}; write it such as 2023-05-15T09:59:59-04:00") from None

    def _reach(self, here: Here) -> DatabaseServer:
        return here.reach(DatabaseServer, self.server)


def _has(replay: Replay) -> str:
    return f"it has what was committed until {replay.until}" if replay.until else "it has nothing since the backup yet"


def _owner(here: Here) -> str:
    return f"{here.run}-{here.step}"
