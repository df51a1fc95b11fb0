"""A small text file that people and programs edit while dr does: read whole, replaced atomically.

Two writers of dr exclude each other by a lock on the file's own inode; a lock file beside it was rejected as litter.
Other editors know no lock, so the file is compared once more right before it is replaced.
"""

import fcntl
import glob
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from dr.targets.protocols import Conflict, Opening, TargetUnreachable

MAX_BYTES: Final = 1 << 20
"""Flag files and proxy configurations are far smaller; reading anything larger is a mistake."""
TRIES: Final = 5
LOCK_POLL: Final = 0.005
SUFFIX: Final = ".dr-new"


class AnyFile(Protocol):
    """A `TextFile`, or one on another host."""

    path: str
    deadline: float
    """Until when a call may take, a time of `time.monotonic`; may be moved."""

    def read(self) -> str: ...
    def rewrite(self, change: Callable[[str], str]) -> None: ...
    def close(self) -> None: ...


def file_on(host: str | None, opening: Opening, path: str) -> AnyFile:
    """The file on this machine, or on the one of that target, an `ssh` with one host. Nothing is read yet.

    Raises:
        TargetUnreachable: it is not one host, or its key cannot be read.
    """
    deadline = time.monotonic() + opening.timeout
    if host is None:
        return TextFile(path, deadline)
    from dr.targets.transport.ssh_file import SshFile
    from dr.targets.transport.ssh_program import SshPrograms

    return SshFile(opening.name, path, SshPrograms(opening.name, opening.other(host), path), deadline)


class TextFile:
    """The file at `path`; `deadline` is a time of `time.monotonic`, and may be moved."""

    def __init__(self, path: str, deadline: float) -> None:
        self.path = path
        self.deadline = deadline

    def read(self) -> str:
        """The whole text.

        Raises:
            TargetUnreachable: it is missing, not ours to read, not a regular file, not UTF-8, or larger than 1 MiB.
        """
        with self._reachable():
            return decoded(self.path, _content(Path(self.path)))

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Replace the text by `change(text)`; whoever reads meanwhile sees the old text or the new one, whole.

        `change` is called again on the newer text when somebody else wrote in between, so it loses nobody's edit. The
        file keeps its mode and owner; where it is a symbolic link, the file it points to is replaced.

        Raises:
            TargetUnreachable: as for `read`, or it cannot be replaced with its owner kept.
            Conflict: somebody else keeps writing it.
        """
        with self._reachable(), self._locked() as real:
            for _ in range(TRIES):
                old = _content(real)
                text = decoded(self.path, old)
                new = change(text)
                if new == text or _replace(real, old, new.encode()):
                    return
        raise Conflict(f"{self.path} was changed by somebody else at each of {TRIES} tries to change it")

    def close(self) -> None:
        """Nothing to do."""

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """The real path, with its inode locked against other writers of dr."""
        while True:
            real = Path(os.path.realpath(self.path, strict=True))
            opened = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if _try_lock(opened) and os.path.samestat(os.fstat(opened), real.stat()):
                    yield real
                    return
            finally:
                os.close(opened)
            if time.monotonic() > self.deadline:
                raise TargetUnreachable(f"{self.path} is locked by another process")
            time.sleep(LOCK_POLL)

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetUnreachable(f"{self.path}: {error.strerror}") from error


def decoded(path: str, content: bytes) -> str:
    """The text in a file's first bytes, of which one more than MAX_BYTES was read. Raises TargetUnreachable."""
    if len(content) > MAX_BYTES:
        raise TargetUnreachable(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise TargetUnreachable(f"{path} is not UTF-8: byte {error.start}") from None


def _try_lock(opened: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _content(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer that never comes.
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise TargetUnreachable(f"{path} is not a regular file")
        return file.read(MAX_BYTES + 1)


def _replace(path: Path, old: bytes, new: bytes) -> bool:
    """Put `new` in the place of `old`; False if the file no longer holds `old`. Durable when it returns True."""
    # A name of its own: the lock is on the inode, so after the rename, or when an editor has replaced the file, another
    # writer may be at work in this folder, too.
    _remove_abandoned(path)
    opened, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(opened, "wb") as file:
            fcntl.flock(opened, fcntl.LOCK_EX)
            file.write(new)
            file.flush()
            _take_after(path.stat(), opened)
            os.fsync(opened)
            if _content(path) != old:
                return False
            try:
                beside.rename(path)
            except FileNotFoundError:  # another writer took it for abandoned before it was locked
                return False
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _remove_abandoned(path: Path) -> None:
    """Take away what a killed writer has left beside the file: those that no process holds a lock on."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer has just finished
            opened = os.open(left, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if _try_lock(opened):
                    left.unlink()
            finally:
                os.close(opened)


def _take_after(before: os.stat_result, opened: int) -> None:
    """Give the opened file the owner and mode of the one it replaces, and a later time of modification."""
    now = os.fstat(opened)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(opened, before.st_uid, before.st_gid)
    os.fchmod(opened, stat.S_IMODE(before.st_mode))
    # Pollers look for a *later* time, and the kernel's clock for files stands still for some milliseconds: of two edits
    # within one tick the second would never be seen.
    if now.st_mtime_ns <= before.st_mtime_ns:
        later = before.st_mtime_ns + 1_000_000
        os.utime(opened, ns=(later, later))


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
