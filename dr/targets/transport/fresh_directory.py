"""A data directory made anew, from a primary or from a backup, in the place of one whose server is down.

The copy is made beside it, checked, fenced, and only then put in its place. What was there is kept as
`DATA.before-<owner>`, for a person to remove: no step of dr deletes the only copy of anything.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Final

import msgspec

from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.transport.data_directory import CLAIM, FENCE, SETTINGS, DataDirectory

RESTORED: Final = "dr.restored"
MANIFEST: Final = "backup_manifest"
"""pg_basebackup writes it last: where it is, the backup is complete."""
RECOVERY: Final = "recovery.signal"
"""As a tool leaves it beside the fence; it would outlive the promotion, and make the next start a recovery."""
DATA: Final = "{data}"
UNTIL: Final = "{until}"
POLL: Final = 0.1
TOLD_EVERY: Final = 2.0
"""Seconds between two words on how far a copy is."""
SETTINGS_OF_A_RESTORE: Final = """\
primary_conninfo = ''
restore_command = {wal}
recovery_target = ''
recovery_target_lsn = ''
recovery_target_name = ''
recovery_target_xid = ''
recovery_target_time = {until}
recovery_target_inclusive = on
recovery_target_action = pause
"""
"""Whatever the backup brings. `pause`, not `promote`: it takes no write before `database.failover` says so."""

AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/.*[^/]$")]


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server can be made anew from; all paths are of its own host."""

    folder: AbsolutePath | None = None
    """A folder of backups that pg_basebackup made in the plain format; the last one, by its name, is taken."""
    fetch: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()
    """In place of `folder`: a tool's command (pgBackRest, ...) that fills the empty directory `{data}`."""
    fetch_until: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()
    """The same from a backup that was complete at the moment `{until}` (`2023-05-15 13:59:59.000000+00`)."""
    wal: Annotated[str, msgspec.Meta(pattern=r"^[^\r\n]*$", max_length=1000)] = ""
    """PostgreSQL's restore_command for what was archived since: `cp /archive/%f %p`; it takes the place of what a tool
    wrote there. Without it that is lost, and a backup without the WAL of its own time never becomes ready."""

    def __post_init__(self) -> None:
        if (self.folder is None) == (not self.fetch):
            raise ValueError("one of `folder` and `fetch` is needed")
        if self.fetch and not any(DATA in word for word in self.fetch):
            raise ValueError("fetch: no word of it holds `{data}`, the directory that is to be filled")
        if self.fetch_until and not (
            self.fetch and all(any(hole in word for word in self.fetch_until) for hole in (DATA, UNTIL))
        ):
            raise ValueError("fetch_until: it goes with `fetch`, and words of it hold `{data}` and `{until}`")


def copy(directory: DataDirectory, upstream: str, owner: str) -> None:
    """A copy of the server there, which streams from it at its next start.

    Raises:
        Refused: the copy cannot be made, or this server is not down.
    """

    def fill(fresh: str) -> None:
        _make(
            directory, directory.tool("pg_basebackup"), "--no-password", "--wal-method=stream", "--checkpoint=fast",
            "--write-recovery-conf", f"--pgdata={fresh}", f"--dbname={upstream}",
        )  # fmt: skip

    _replace(directory, owner, fill)


def chosen(directory: DataDirectory, backup: Backup, until: str) -> str:
    """The folder of the backup that would be restored, or the tool that would fetch it.

    Raises:
        Refused: there is none, or none that could be replayed up to that moment.
    """
    if until and not backup.wal:
        raise Refused(f"{directory.name}: its `backup` in dr.toml has no `wal`, so it cannot be replayed to a moment")
    if until and backup.fetch and not backup.fetch_until:
        raise Refused(f"{directory.name}: its `backup` in dr.toml has no `fetch_until`: which backup is old enough?")
    return backup.fetch[0] if backup.folder is None else _newest(directory, backup.folder, until)


def restore(
    directory: DataDirectory, backup: Backup, owner: str, until: str, tell: Callable[[str], None]
) -> Mapping[str, str]:
    """The backup, which replays what the archive has (`until` then) at its next start; which it is, and when it began.

    Raises:
        Refused: there is none, it is not whole, or this server is not down.
    """
    source = chosen(directory, backup, until)
    label: list[str] = []

    def fill(fresh: str) -> None:
        with _told(directory, fresh, tell):
            if backup.folder:
                _make(directory, "cp", "--archive", "--no-target-directory", source, fresh)
                _refuse_tablespaces(directory, fresh)
            else:
                directory.must("mkdir", "--mode=0700", fresh)
                words = backup.fetch_until if until else backup.fetch
                _make(directory, *(word.replace(DATA, fresh).replace(UNTIL, until) for word in words))
        _check(directory, fresh, archived=bool(backup.wal))
        label.append(directory.look("cat", f"{fresh}/backup_label").out)
        settings = SETTINGS_OF_A_RESTORE.format(wal=_quoted(backup.wal), until=_quoted(until))
        directory.must("tee", "--append", f"{fresh}/{SETTINGS}", text=settings)
        directory.must("tee", f"{fresh}/{RESTORED}", text=owner)

    _replace(directory, owner, fill)
    begun = [line.partition(": ")[2] for line in label[0].splitlines() if line.startswith("START TIME: ")]
    return {"backup": source, "begun": "".join(begun)}


def restored(directory: DataDirectory) -> str:
    """Who restored it from a backup; empty when nobody did."""
    return directory.look("cat", f"{directory.path}/{RESTORED}").out if directory.exists(RESTORED) else ""


def _replace(directory: DataDirectory, owner: str, fill: Callable[[str], None]) -> None:
    """Put what `fill` makes in the place of what is there; durable when this returns.

    A copy that was cut short is thrown away first. Whoever made it may be at it still: this one has another name.
    """
    _discard_unfinished(directory)
    fresh = f"{directory.path}.fresh-{uuid.uuid4().hex}"
    fill(fresh)
    directory.must("rm", "-f", f"{fresh}/{CLAIM}", f"{fresh}/{RECOVERY}")
    directory.must("tee", f"{fresh}/{FENCE}")
    directory.must("sync", "--file-system", fresh)
    if not directory.absent():
        directory.fence()  # proves that it is down
    if directory.exists(""):
        directory.must("mv", "--no-target-directory", directory.path, f"{directory.path}.before-{owner}")
    directory.must("mv", "--no-target-directory", fresh, directory.path)
    directory.must("sync", directory.path, _parent(directory.path))


def _discard_unfinished(directory: DataDirectory) -> None:
    """A program that a killed dr has left behind may be writing there still: until its folder has gone."""
    name = directory.path.rpartition("/")[2]
    found = directory.look("find", _parent(directory.path), "-maxdepth", "1", "-name", f"{name}.fresh-*")
    for path in found.out.splitlines():
        while (said := directory.change("rm", "-rf", path)).status:
            if time.monotonic() + POLL > directory.deadline:
                raise TargetUnreachable(f"{directory.name}: {path} cannot be removed: {said.words()}")
            time.sleep(POLL)


def _newest(directory: DataDirectory, folder: str, until: str) -> str:
    """A backup that was complete at that moment: its manifest is no younger."""
    old_enough = ("!", "-newermt", until) if until else ()
    found = directory.look("find", folder, "-mindepth", "2", "-maxdepth", "2", "-name", MANIFEST, *old_enough)
    backups = sorted(_parent(path) for path in found.out.splitlines())
    if not backups:
        when = f" that was complete at {until}" if until else ""
        why = f" ({found.words()})" if found.status else ""
        raise Refused(f"{directory.name}: no complete backup of pg_basebackup{when} is in {folder}{why}")
    return backups[-1]


def _refuse_tablespaces(directory: DataDirectory, fresh: str) -> None:
    if directory.look("find", f"{fresh}/pg_tblspc", "-mindepth", "1").out:
        raise Refused(f"{directory.name}: the backup has tablespaces, which a copy would share with it: use `fetch`")


@contextmanager
def _told(directory: DataDirectory, fresh: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell how much is in the directory while it is filled: the tools that fill it say so at their end, if at all."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(TOLD_EVERY):
            with suppress(TargetUnreachable):
                if said := directory.look("du", "-sk", fresh).out:
                    tell(f"{directory.name}: {int(said.split()[0]) // 1024:,} MiB are copied")

    thread = threading.Thread(target=watch, name="dr-told", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _check(directory: DataDirectory, fresh: str, *, archived: bool) -> None:
    """Every file is as it was when the backup was made. A tool that leaves no manifest has checked that by itself."""
    if directory.look("test", "-e", f"{fresh}/{MANIFEST}").status == 0:
        wal = ("--no-parse-wal",) if archived else ()
        _make(directory, directory.tool("pg_verifybackup"), "--quiet", "--exit-on-error", *wal, fresh)


def _make(directory: DataDirectory, *arguments: str) -> None:
    said = directory.change(*arguments)
    tool = arguments[0].rpartition("/")[2]
    if said.crash():
        raise Refused(
            f"{directory.name}: {tool} did not come to an end, which says nothing of the backup: {said.words()}"
        )
    if said.status:
        raise Refused(f"{directory.name}: {tool}: {said.words()}")


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _quoted(value: str) -> str:
    """As PostgreSQL reads it in a configuration file."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
