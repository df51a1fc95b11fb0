"""A data directory made anew, from a primary or from a backup, in the place of one whose server is down.

The copy is made beside it, checked, fenced, and only then put in its place. What was there is kept as
`DATA.before-<owner>`, for a person to remove: no step of dr deletes the only copy of anything.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec

from dr.targets.protocols import Refused, TargetUnreachable
from dr.targets.transport.data_directory import CLAIM, FENCE, DataDirectory

RESTORED: Final = "dr.restored"
MANIFEST: Final = "backup_manifest"
"""pg_basebackup writes it last: where it is, the backup is complete."""
SETTINGS: Final = "postgresql.auto.conf"
DATA: Final = "{data}"
POLL: Final = 0.1

AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/.*[^/]$")]


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server can be made anew from; all paths are of its own host."""

    folder: AbsolutePath | None = None
    """A folder of backups that pg_basebackup made in the plain format; the last one, by its name, is taken."""
    fetch: Annotated[tuple[str, ...], msgspec.Meta(max_length=50)] = ()
    """In place of `folder`: a tool's command (pgBackRest, ...) that fills the empty directory `{data}`."""
    wal: Annotated[str, msgspec.Meta(pattern=r"^[^\r\n]*$", max_length=1000)] = ""
    """PostgreSQL's restore_command for what was archived since: `cp /archive/%f %p`; it takes the place of what a tool
    wrote there. Without it that is lost, and a backup without the WAL of its own time never becomes ready."""

    def __post_init__(self) -> None:
        if (self.folder is None) == (not self.fetch):
            raise ValueError("one of `folder` and `fetch` is needed")
        if self.fetch and not any(DATA in word for word in self.fetch):
            raise ValueError("fetch: no word of it holds `{data}`, the directory that is to be filled")


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


def restore(directory: DataDirectory, backup: Backup, owner: str) -> Mapping[str, str]:
    """The backup, which replays what the archive has at its next start; which one it is, and when it was begun.

    Raises:
        Refused: there is none, it is not whole, or this server is not down.
    """
    source = _newest(directory, backup.folder) if backup.folder else ""
    label: list[str] = []

    def fill(fresh: str) -> None:
        if source:
            _make(directory, "cp", "--archive", "--no-target-directory", source, fresh)
            _refuse_tablespaces(directory, fresh)
        else:
            directory.must("mkdir", "--mode=0700", fresh)
            _make(directory, *(word.replace(DATA, fresh) for word in backup.fetch))
        _check(directory, fresh, archived=bool(backup.wal))
        label.append(directory.look("cat", f"{fresh}/backup_label").out)
        settings = f"primary_conninfo = ''\nrestore_command = {_quoted(backup.wal)}\n"
        directory.must("tee", "--append", f"{fresh}/{SETTINGS}", text=settings)
        directory.must("tee", f"{fresh}/{RESTORED}", text=owner)

    _replace(directory, owner, fill)
    begun = [line.partition(": ")[2] for line in label[0].splitlines() if line.startswith("START TIME: ")]
    return {"backup": source or backup.fetch[0], "begun": "".join(begun)}


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
    directory.must("rm", "-f", f"{fresh}/{CLAIM}")
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


def _newest(directory: DataDirectory, folder: str) -> str:
    found = directory.look("find", folder, "-mindepth", "2", "-maxdepth", "2", "-name", MANIFEST)
    backups = sorted(_parent(path) for path in found.out.splitlines())
    if not backups:
        raise Refused(f"{directory.name}: no complete backup of pg_basebackup is in {folder} {found.error}".strip())
    return backups[-1]


def _refuse_tablespaces(directory: DataDirectory, fresh: str) -> None:
    if directory.look("find", f"{fresh}/pg_tblspc", "-mindepth", "1").out:
        raise Refused(f"{directory.name}: the backup has tablespaces, which a copy would share with it: use `fetch`")


def _check(directory: DataDirectory, fresh: str, *, archived: bool) -> None:
    """Every file is as it was when the backup was made. A tool that leaves no manifest has checked that by itself."""
    if directory.look("test", "-e", f"{fresh}/{MANIFEST}").status == 0:
        wal = ("--no-parse-wal",) if archived else ()
        _make(directory, directory.tool("pg_verifybackup"), "--quiet", "--exit-on-error", *wal, fresh)


def _make(directory: DataDirectory, *arguments: str) -> None:
    said = directory.change(*arguments)
    if said.status:
        raise Refused(f"{directory.name}: {arguments[0].rpartition('/')[2]}: {said.words()}")


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _quoted(value: str) -> str:
    """As PostgreSQL reads it in a configuration file."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
