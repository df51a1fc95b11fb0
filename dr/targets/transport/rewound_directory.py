"""A data directory, whose server is down, made a copy of another server's by pg_rewind.

pg_rewind removes the fence long before the data are whole, and a server that is started then, by whoever it is, takes
writes. So nobody can start it until pg_rewind has come to its end; also not after a crash of the machine.
"""

import time
from typing import Final

from dr.targets.protocols import Refused
from dr.targets.transport.data_directory import FENCE, SETTINGS, DataDirectory

BARRED: Final = "o+x"
"""A mode with which PostgreSQL itself refuses to start ("data directory has invalid permissions"). Nobody else can read
more by it, and pg_rewind does not mind. To move pg_control away, say, was rejected: pg_rewind needs it."""
FREE: Final = "o-x"
POLL: Final = 0.02
AN_ANSWER: Final = 2.0
"""Seconds before the deadline that are left to take the mode away again."""
AT_WORK: Final = "need to copy"
"""pg_rewind says this last before it changes anything."""
ERROR: Final = "pg_rewind: error: "
REWIND: Final = f"""\
export LC_ALL=C
"$2" --progress --write-recovery-conf --target-pgdata="$1" --source-server="$3" || exit
: >"$1/{FENCE}" && sync "$1/{FENCE}" "$1/{SETTINGS}" "$1" && chmod {FREE} "$1" && sync "$1"
"""
"""One program, so that what a killed dr leaves behind goes on to its end. The text is fixed, the rest its arguments.

pg_rewind syncs the data, and only then writes the settings, which it does not sync (16 and 18 do so): without them a
standby would not know, after a power cut, whom to follow, or find zeros there and not start.
"""


def rewind(directory: DataDirectory, upstream: str) -> None:
    """Discard what the server there never got, and fence the server; durable when this returns.

    Its next start streams from there: it takes no connection, to be told so, before it has what was written there while
    it was rewound. What an earlier call has left at work is waited for. What was cut short can hardly be repeated,
    because WAL that it would need may be gone.

    Raises:
        Refused: pg_rewind says no, somebody has started the server, or it crashed and cannot replay its WAL.
    """
    under_lock = ("flock", f"--wait={max(1, round(directory.deadline - time.monotonic()))}", directory.path)
    if begun_before := _barred(directory):
        directory.must(*under_lock, "true")
        if not _barred(directory):
            return
    elif not directory.control().clean and not directory.running():
        directory.recover()  # pg_rewind would have `postgres --single` do that, which refuses a barred directory
    _bar(directory)
    said = directory.change(
        *under_lock, "sh", "-c", REWIND, "sh", directory.path, directory.tool("pg_rewind"), upstream
    )
    if not said.status:
        return
    why = " ".join(said.error.partition(ERROR)[2].split()) or said.words()
    if begun_before or AT_WORK in said.error:
        raise Refused(f"{directory.name} was not rewound to the end, so it cannot be started: {why}")
    _free(directory)
    raise Refused(f"{directory.name} cannot be rewound: {why}")


def _barred(directory: DataDirectory) -> bool:
    return bool(directory.look("find", directory.path, "-maxdepth", "0", "-perm", f"-{BARRED}").out)


def _bar(directory: DataDirectory) -> None:
    """Nobody starts it from now on, and nobody has: a start that looked at the mode before takes its lock at once.

    A server that was shut down just now may not have ended yet, though all is written; one that starts is there, too,
    and soon its control data say that it runs.
    """
    directory.must("chmod", BARRED, directory.path)
    directory.must("sync", directory.path)
    while directory.running():
        if not directory.control().clean or time.monotonic() > directory.deadline - AN_ANSWER:
            _free(directory)
            raise Refused(f"{directory.name} cannot be rewound: a server runs there, which somebody has started")
        time.sleep(POLL)


def _free(directory: DataDirectory) -> None:
    directory.must("chmod", FREE, directory.path)
    directory.must("sync", directory.path)
