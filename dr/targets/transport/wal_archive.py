"""What a server that replays an archive waits for, and whether the archive can give it.

PostgreSQL takes every failure of its restore_command for the end of the archive: a file that is missing among others,
one that is damaged, a store that cannot be reached. It then stands still and serves what it has. So the same command is
run here once more, for what the server waits for and for what comes after it.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from dr.targets.protocols import TargetUnreachable
from dr.targets.switching import Replay
from dr.targets.transport import server_sql as sql
from dr.targets.transport.data_directory import DataDirectory
from dr.targets.transport.program import Said

NOT_THERE: Final = {1, 74}
"""What tools end with when the archive simply has no such file: cp, pgBackRest, Barman; WAL-G. Any other is trouble."""
AHEAD: Final = 8
"""WAL files after the one that is waited for that are looked for; a longer gap is taken for the end."""
WHILE: Final = 0.5
"""Seconds in which a server that gets on has got a WAL file from its archive."""
OLDEST: Final = "0" * 24
"""What is given for %r, from which on an archive is needed: some commands remove what is older."""
TITLE: Final = 'read -r pid <"$1/postmaster.pid" && exec ps -o args= --ppid "$pid"'
FETCH: Final = 'umask 077; cd "$1" || exit; sh -c "$3"; status=$?; rm -f "$2"; exit "$status"'
"""A shell, because a restore_command is written for one: it is an argument here, and what is put into it are names of
WAL files and of the file that is removed again."""


_Rows = Callable[[str], list[tuple[Any, ...]]]


def replay(directory: DataDirectory, command: str, rows: _Rows) -> Replay:
    """How far the server there is, whose restore_command that is; `rows` asks it.

    Raises:
        TargetUnreachable: it cannot be asked, and not because it has yet to get so far.
    """
    if not directory.running():
        return Replay(state="down")
    wanted = wanted_by(directory)
    try:
        [(state, until, pause)] = rows(sql.REPLAY)
    except TargetUnreachable as error:
        if sql.pulse_of(error) not in {"starting", "refuses"}:
            raise
        why = _withheld(directory, command, wanted)
        if not why or _answers(rows):  # it had all it needs, and had only not got so far
            return Replay(state="replaying", file=_file(wanted))
        return Replay(state="starved", file=_file(wanted), why=f"the backup is not whole: {why}")
    why = ""
    if state == "exhausted":
        wanted = wanted_by(directory)  # when it was looked at before, it may have been about to begin
    elif state == "replaying" and _withheld(directory, command, wanted):
        state = "exhausted"
    file = _file(wanted)
    if state == "exhausted" and file and (why := _gap(directory, command, file)):
        time.sleep(2 * pause)  # what it waits for may have come just now: then it takes it when it asks again
        now = wanted_by(directory)
        state = "starved" if now and now.file == file else "replaying"
    if state == "held" and not rows(sql.MAY_FORGET_TARGET)[0][0]:
        # To be known before the promotion: nobody can be granted anything on a standby.
        state = "starved"
        why = "dr's role may not reset recovery_target_time after the promotion: have dr use a superuser there"
    return Replay(state=state, until=until, file=file, why=why if state == "starved" else "")


class Wanted(msgspec.Struct, frozen=True):
    """The WAL file that a server is at, by the title of its startup process."""

    file: str
    waits: bool
    """It has asked the archive for it; otherwise it reads it."""


def wanted_by(directory: DataDirectory) -> Wanted | None:
    """None: that cannot be seen (no `ps` there, or no titles)."""
    found = _TITLE.search(directory.look("sh", "-c", TITLE, "sh", directory.path).out)
    return Wanted(found[2], found[1] == "waiting for") if found else None


def _answers(rows: _Rows) -> bool:
    try:
        rows("select")
    except TargetUnreachable:
        return False
    return True


def _file(wanted: Wanted | None) -> str:
    return wanted.file if wanted else ""


def _withheld(directory: DataDirectory, command: str, wanted: Wanted | None) -> str:
    """Why the archive does not give the file that the server waits for, in the command's words; empty: it may give it.

    Asked only after a while, because a server that gets on waits too, for each file in its turn.
    """
    if wanted is None or not wanted.waits:
        return ""
    time.sleep(WHILE)
    if wanted_by(directory) != wanted:
        return ""
    said = _ask(directory, command, wanted.file)
    return f"the archive does not give WAL file {wanted.file} ({said.words()})" if said.status else ""


def _gap(directory: DataDirectory, command: str, file: str) -> str:
    """Why a server that stands still at `file` could have more; empty: the archive ends there."""
    said = _ask(directory, command, file)
    if said.status not in {0, *NOT_THERE}:
        return f"the archive does not give WAL file {file} ({said.words()})"
    for later in following(file, directory.control().segment):
        if _ask(directory, command, later).status == 0:
            what = f"WAL file {file} is missing from the archive" if said.status else f"WAL file {file} is damaged"
            return f"{what}, which has {later}"
    return ""


def _ask(directory: DataDirectory, command: str, file: str) -> Said:
    scratch = f"dr.probe-{uuid.uuid4().hex}"
    meant = {"%f": file, "%p": scratch, "%r": OLDEST, "%%": "%"}
    text = re.sub("%[fpr%]", lambda found: meant[found[0]], command or "false")  # no archive gives nothing
    return directory.look("sh", "-c", FETCH, "sh", directory.path, scratch, text)


def following(file: str, segment: int) -> Iterator[str]:
    """The names of the WAL files after that one, on its timeline; `segment` is their size in bytes."""
    per_log = 2**32 // segment
    number = int(file[8:16], 16) * per_log + int(file[16:24], 16)
    for later in range(number + 1, number + 1 + AHEAD):
        yield f"{file[:8]}{later // per_log:08X}{later % per_log:08X}"


_TITLE: Final[re.Pattern[str]] = re.compile(r"\bstartup +(waiting for|recovering) ([0-9A-F]{24})\b")
