"""A PostgreSQL data directory, reached by PostgreSQL's own programs: the server in it may run or not.

The programs run here, on another host over SSH, or wherever the `prefix` takes them: `sudo -u postgres`, `docker exec
db1`, anything that keeps an argument list as it is. So nothing is read or written by dr itself, and the directory may
belong to another user.
"""

import re
import time
from typing import Final

import msgspec

from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.transport import program

POLL: Final = 0.002
SURE: Final = 0.25
"""Seconds after which it is asked whether a server that is to stop runs at all: clients wait, and questions cost."""
NOT_RUNNING: Final = 3
"""Exit status of `pg_ctl status`; 1 is a lock file that a starting server has not yet written, or that is not ours."""
FENCE: Final = "standby.signal"
"""PostgreSQL starts as a standby where this file is: the server cannot come back writable by itself."""
PROVEN: Final = "No server was running here while this file was there already, so each one has found it since."
"""The text of a fence that was proven. PostgreSQL does not read it, and removes the file before a standby that is
promoted takes its first write."""
CLAIM: Final = "dr.claim"
SETTINGS: Final = "postgresql.auto.conf"
LOCK_FREE: Final = "Lock file: gone"
STOP_AND_FENCE: Final = f"""\
export LC_ALL=C
read -r how || exit 0  # dr is gone, or has thought better of it
read -r pid <"$1/postmaster.pid"
[ "$how" = stop ] && kill -INT "$pid"
: >"$1/{FENCE}" && sync "$1/{FENCE}" "$1" || exit 1
while [ -e "$1/postmaster.pid" ] && kill -0 "$pid"; do sleep 0.002; done
[ -e "$1/postmaster.pid" ] || echo "{LOCK_FREE}"
exec "$2" "$1"
"""
"""What `stop_and_fence` runs beside the data: one program in the place of five, while clients wait.

A shell, though dr uses none elsewhere: it is the one thing at hand that can wait for a word, and then needs no other
program to send a signal and to look for a file. Its text is fixed; the paths are its arguments.
"""
ALONE: Final = "-c hot_standby=off -c listen_addresses= -c unix_socket_directories=. -c primary_conninfo="
OWN_TIMELINE: Final = "-c recovery_target_timeline=current"
"""A standby that knows of a newer timeline, which begins before its own end, does not start otherwise."""
CLEAN: Final = ("shut down", "shut down in recovery")


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """How the directory and its server are reached."""

    data: str
    programs: str
    prefix: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What pg_controldata says."""

    state: str
    position: int
    """Where the latest checkpoint stands in the WAL; of a server that was shut down, its last record."""
    timeline: int
    system: str
    segment: int
    """Bytes of a WAL file."""

    @property
    def clean(self) -> bool:
        """Shut down in order: every session had ended before the last record was written."""
        return self.state in CLEAN


class DataDirectory:
    """The directory of the server `name`. `deadline` is a time of `time.monotonic`, and may be moved."""

    def __init__(self, name: str, commands: Commands, programs: program.Programs, deadline: float) -> None:
        self.deadline = deadline
        self.name = name
        self.path = commands.data
        self._commands = commands
        self._programs = programs
        self._stopper: program.Begun | None = None

    def close(self) -> None:
        self._dismiss()
        self._programs.close()

    def _dismiss(self) -> None:
        if self._stopper is not None:
            self._stopper.close()
            self._stopper = None

    def take_over(self) -> None:
        """Be the only one who changes it: what was begun here earlier has ended then, or will never begin.

        Raises:
            TargetUnreachable: that cannot be seen to in time.
        """
        self._programs.take_over(self.deadline)

    def control(self) -> Control:
        """Raises TargetUnreachable: it cannot be read."""
        return self._control_of(self.look("env", "LC_ALL=C", self.tool("pg_controldata"), self.path))

    def _control_of(self, said: program.Said) -> Control:
        fields = dict(_FIELD.findall(said.out))
        try:
            return Control(
                state=fields["Database cluster state"],
                position=position_of(fields["Latest checkpoint location"]),
                timeline=int(fields["Latest checkpoint's TimeLineID"]),
                system=fields["Database system identifier"],
                segment=int(fields["Bytes per WAL segment"]),
            )
        except (KeyError, ValueError):
            raise TargetUnreachable(f"{self.name}: pg_controldata: {said.words()}") from None

    def absent(self) -> bool:
        """Whether there is no such directory, or nothing in it. Raises TargetUnreachable: that cannot be seen."""
        if not self.exists(""):
            return True
        said = self.look("find", self.path, "-maxdepth", "0", "-empty")
        if said.status:
            raise TargetUnreachable(f"{self.name}: {said.words()}")
        return bool(said.out)

    def running(self) -> bool:
        """Whether a server process holds the directory: also a frozen one, and one that pg_ctl is not sure about."""
        said = self.look(*self._pg_ctl("status"))
        if said.status not in {0, 1, NOT_RUNNING}:
            raise TargetUnreachable(f"{self.name}: pg_ctl status: {said.words()}")
        return said.status != NOT_RUNNING

    def stop(self) -> Control:
        """Shut down in order, sessions being ended; harmless when it is down already. What stands in it then.

        Looked at by itself every few milliseconds, because `pg_ctl --wait` looks ten times a second. That nothing more
        is written is certain before the process has ended: it still sends the last of its WAL to the standby.

        Raises:
            Refused: the server is down, and was not shut down in order.
            TargetUnreachable: it is not down in time.
        """
        # Its status says nothing: the server may have been down. The control data below does.
        self._given(self._commands.stop, "stop", "--mode=fast", "--no-wait")
        began = time.monotonic()
        while not (control := self.control()).clean:
            if time.monotonic() - began > SURE and not self.running() and not (control := self.control()).clean:
                raise Refused(f"{self.name} is down, and was not shut down in order ({control.state})")
            if time.monotonic() > self.deadline:
                raise TargetUnreachable(f"{self.name} did not shut down in time ({control.state})")
            time.sleep(POLL)
        return control

    def halt(self) -> None:
        """Take it down at once, as a crash would; what was acknowledged is in its WAL.

        Raises:
            TargetUnreachable: it is not down in time.
        """
        if not self.running():
            return
        said = self.change(*self._pg_ctl("stop", "--mode=immediate", "--wait", self._patience()))
        if self.running():
            raise TargetUnreachable(f"{self.name} does not go down: {said.words()}")

    def start(self) -> None:
        """Have it started, if it is not running; that it answers is not waited for.

        Raises:
            Refused: it does not start.
        """
        if self.running():
            if not self.control().clean:
                return
            # It is down but for a process that waits for a standby to take its last WAL. Nothing of it is lost.
            self.change(*self._pg_ctl("stop", "--mode=immediate", "--wait", self._patience()))
        said = self._given(self._commands.start, "start", "--no-wait", f"--log={self.path}/startup.log")
        if said.status:
            raise Refused(f"{self.name} does not start: {said.words()}")

    def recover(self) -> None:
        """Have a server that crashed replay its own WAL, and shut it down in order. It is fenced first, and stays so.

        It comes up as a standby that nobody can connect to. `postgres --single`, which replays WAL, too, was rejected:
        it takes no directory that is fenced.

        Raises:
            Refused: it does not replay it, or is not down.
        """
        self.fence()
        how = (f"--log={self.path}/startup.log", f"--options={ALONE} {OWN_TIMELINE}")
        self.change(*self._pg_ctl("start", "--wait", self._patience(), *how))
        self.change(*self._pg_ctl("stop", "--mode=fast", "--wait", self._patience()))
        if not self.control().clean:
            raise Refused(f"{self.name} crashed, and does not replay its WAL, {self.path}/startup.log says why")

    def fenced(self) -> bool:
        return self.exists(FENCE)

    def fence(self) -> None:
        """Make sure that the server is down and that its next start makes it a standby; durable when this returns.

        Raises:
            Refused: it is not down. Then it is not fenced, but if it was before: who has started it may be on the way
                to look for that fence.
        """
        before = self.fenced()
        self._write(FENCE, "")
        self._prove_fence(keep=before)
        # Not synced, and it may fail: without it a server that answers nothing is taken for one that may write.
        self.change("tee", self._path(FENCE), text=f"{PROVEN}\n")

    def prepare_stop(self) -> None:
        """Have the program of `stop_and_fence` wait for its word: what starts it (sudo, a container) takes its time."""
        self._dismiss()
        arguments = (STOP_AND_FENCE, "sh", self.path, self.tool("pg_controldata"))
        self._stopper = self._programs.begin((*self._commands.prefix, "sh", "-c", *arguments))

    def stop_and_fence(self) -> Control:
        """Both, in less time than one after the other. Whatever it raises, the fence may be there."""
        if self._stopper is None:
            self.prepare_stop()
        assert self._stopper is not None
        if self._commands.stop:
            self._programs.change(self._commands.stop, self.deadline)
        said = self._stopper.finish(self.deadline, "fence\n" if self._commands.stop else "stop\n")
        self._stopper = None
        control = self._control_of(said)
        if not control.clean:
            raise Refused(f"{self.name} is down, and was not shut down in order ({control.state})")
        if LOCK_FREE not in said.out:
            self._prove_fence()
        return control

    def _prove_fence(self, *, keep: bool = False) -> None:
        """A start takes the lock that `running` looks at before it looks for the fence.

        So where the fence is there first, and then nobody holds the lock, no start can have missed it.
        """
        while self.running():
            state = self.control().state
            if state not in CLEAN or time.monotonic() > self.deadline:
                if not keep:
                    self.unfence()
                raise Refused(f"{self.name} cannot be fenced: it is not down ({state})")
            time.sleep(POLL)

    def started_fenced(self) -> bool:
        """Whether a server that runs here has found the fence when it was started, and was not promoted since."""
        return self.look("cat", self._path(FENCE)).out.strip() == PROVEN

    def unfence(self) -> None:
        self._remove(FENCE)

    def claim(self, owner: str) -> None:
        self._write(CLAIM, owner)

    def claimed(self) -> str:
        """Who claims it; empty when nobody does. Raises TargetUnreachable: there is nothing that could be claimed."""
        if self.exists(CLAIM):
            said = self.look("cat", self._path(CLAIM))
            if said.status:
                raise TargetUnreachable(f"{self.name}: {said.words()}")
            return said.out.strip()
        if self.absent():
            raise TargetUnreachable(f"{self.name} has no data")
        return ""

    def disclaim(self) -> None:
        self._remove(CLAIM)

    def _write(self, file: str, text: str) -> None:
        self.must("tee", self._path(file), text=text)
        self.must("sync", self._path(file), self.path)

    def _remove(self, file: str) -> None:
        self.must("rm", "-f", self._path(file))
        self.must("sync", self.path)

    def exists(self, file: str) -> bool:
        said = self.look("test", "-e", self._path(file))
        if said.status not in {0, 1}:
            raise TargetUnreachable(f"{self.name}: {said.words()}")
        return said.status == 0

    def _path(self, file: str) -> str:
        return f"{self.path}/{file}"

    def tool(self, program_name: str) -> str:
        """One of PostgreSQL's own."""
        return f"{self._commands.programs}/{program_name}"

    def _given(self, configured: tuple[str, ...], *otherwise: str) -> program.Said:
        """Run the command of `dr.toml`, or pg_ctl where there is none."""
        if configured:
            return self._programs.change(configured, self.deadline)
        return self.change(*self._pg_ctl(*otherwise))

    def _pg_ctl(self, *arguments: str) -> tuple[str, ...]:
        return (self.tool("pg_ctl"), *arguments, "--silent", f"--pgdata={self.path}")

    def _patience(self) -> str:
        return f"--timeout={max(1, round(self.deadline - time.monotonic()))}"

    def must(self, *arguments: str, text: str = "") -> None:
        """Raises TargetUnreachable: it failed."""
        said = self.change(*arguments, text=text)
        if said.status:
            raise TargetUnreachable(f"{self.name}: {arguments[0]}: {said.words()}")

    def look(self, *arguments: str) -> program.Said:
        """Run a program that changes nothing, where the directory is."""
        return self._programs.look((*self._commands.prefix, *arguments), self.deadline)

    def change(self, *arguments: str, text: str = "") -> program.Said:
        """Run one that may change something; `text` is its standard input."""
        return self._programs.change((*self._commands.prefix, *arguments), self.deadline, text=text)


def position_of(lsn: str) -> int:
    """An LSN such as 0/3000028 as a number of bytes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


_FIELD: Final[re.Pattern[str]] = re.compile(r"^([^:\n]+):[ \t]+(.*)$", re.MULTILINE)
