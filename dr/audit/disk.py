"""Files and folders that are on stable storage when these functions return."""

import errno
import os
import stat
from pathlib import Path

from dr.errors import JournalUnwritable


def make_folder(path: Path) -> None:
    """Create the folder and those above it that are missing, each name on stable storage."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def create(path: Path, content: bytes) -> None:
    """Create a file that must not exist, and sync it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        write_all(file, content)
        os.fsync(file)
    finally:
        os.close(file)


def create_whole(path: Path, content: bytes) -> None:
    """Create a file that must not exist, whole or not at all, and its name."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    replace(path, content)


def replace(path: Path, content: bytes) -> None:
    """Put a file there with this content, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    create(part, content)
    part.rename(path)
    sync_directory(path.parent)


def take_away(folder: Path) -> None:
    """Remove a folder and all in it, as far as that can be done."""
    import shutil  # loads three compressors, a thirtieth of a run's start; this is only for a start that failed

    shutil.rmtree(folder, ignore_errors=True)


def write_all(file: int, data: bytes) -> None:
    """Write everything: a full disk may take a part, and then refuses the rest with the errno that says why."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


def regular(path: str | Path, flags: int) -> int:
    """Open a file, as an `opener` does. Of a pipe in its place an open would never return, of a device a read."""
    file = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "it is no ordinary file", str(path))


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or removed in it durable."""
    _sync(directory, os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Make everything in it durable, but not its own name."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path, must_be: int = 0) -> None:
    file = os.open(path, os.O_RDONLY | must_be)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def unwritable(run: str, path: Path, error: OSError, *, started: bool) -> JournalUnwritable:
    """The error of a journal that cannot be written. `started`: whether the run has entries already."""
    return JournalUnwritable(
        f"the journal cannot be written: {path}: {error.strerror}",
        stands="stopped before the next effect; what is recorded so far is safe" if started else "nothing was touched",
        hint="make room or mend the permissions, then: dr " + (f"resume {run}" if started else "run"),
    )
