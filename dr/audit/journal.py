"""The journal of a run in a local directory, and the book of all runs.

    <directory>/runs/<run>/plan.json          the plan, created once
                           journal.jsonl      the entries, appended and synced
                           checkpoints.jsonl  size and head at each pause and at the end
                           torn-<seq>-<hash>  what a crash left unfinished, kept when the run was resumed

One writer holds a lock on the journal file; the kernel releases it when the process ends, however it ends.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec

from dr.audit import chain
from dr.audit.allowed_signers import AllowedSigners
from dr.audit.verdict import Verdict, judge
from dr.core.events import Entry, Event, decode_entry, encode_entry
from dr.errors import JournalBroken, JournalHeld, JournalUnwritable, NoSuchRun

BLOCK = 1 << 18
JOURNAL = "journal.jsonl"
PLAN = "plan.json"
CHECKPOINTS = "checkpoints.jsonl"
HOLDER = "holder"
UNKNOWN_HOLDER = "an unknown process"
LOOKS = 20
"""How often a lock is tried before it counts as held: whoever asks whether a run is held has it for a moment."""
LOOK_EVERY = 0.01
"""Seconds between two tries."""


class Draft(msgspec.Struct, frozen=True):
    """An event on its way into the journal."""

    at: str
    actor: str
    event: Event


class Torn(msgspec.Struct, frozen=True):
    """An unfinished last line, as a crash in the middle of a write leaves it.

    Nothing was done on the strength of it (safety rule 1).
    """

    seq: int
    bytes: int
    sha256: str


class Journal(Protocol):
    """Where the entries of one run go. The writer's side; there is only one writer (safety rule 7)."""

    run: str

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        """Store the events as the next entries, in one write. When this returns they are on stable storage.

        Raises:
            JournalUnwritable: they may or may not be stored; this journal takes no more (safety rule 8).
        """
        ...

    def checkpoint(self, at: str, actor: str) -> None:
        """Write down size and head as they are now, signed where the journal was given somebody who signs.

        Raises:
            JournalUnwritable: it may or may not be stored.
            SigningFailed: nothing was written (`dr.audit.signing.Signing.seal`).
        """
        ...

    def close(self) -> None: ...


class LocalJournal:
    """The `Journal` of a run in its directory."""

    def __init__(self, directory: Path, file: int, head: chain.Head, offset: int, seal: chain.Seal) -> None:
        self.run = directory.name
        self._seal = seal
        self._directory = directory
        self._file = file
        self._head = head
        self._offset = offset
        self._usable = True

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        self._check_usable()
        head, entries, lines = self._head, [], []
        for draft in drafts:
            entry = Entry(
                prev=head.hash, seq=head.size, run=self.run, at=draft.at, actor=draft.actor, event=draft.event
            )
            line = encode_entry(entry)
            head = chain.link(head, line)
            entries.append(entry)
            lines.append(line)
        self._write(b"\n".join(lines) + b"\n")
        self._head = head
        return tuple(entries)

    def checkpoint(self, at: str, actor: str) -> None:
        mark = chain.Checkpoint(run=self.run, size=self._head.size, head=self._head.hash, at=at, actor=actor)
        line = chain.encode_checkpoint(self._seal(mark))
        try:
            file = os.open(self._directory / CHECKPOINTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
            try:
                _cut_unfinished(file)
                _write_all(file, line + b"\n")
                os.fsync(file)
            finally:
                os.close(file)
            _sync_directory(self._directory)
        except OSError as error:
            raise _unwritable(self.run, self._directory / CHECKPOINTS, error, started=True) from error

    def close(self) -> None:
        """Give the lock back. Harmless when repeated."""
        self._usable = False
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _check_usable(self) -> None:
        if not self._usable:
            raise JournalUnwritable(
                f"the journal of {self.run} takes no more entries after a write that failed",
                stands="nothing further was touched",
                hint=f"dr resume {self.run}",
            )

    def _write(self, data: bytes) -> None:
        """Append and sync, or stop for good: whether a failed write is on the disk only reading it again will tell."""
        self._usable = False
        try:
            self._check_untouched()
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError as error:
            raise _unwritable(self.run, self._directory / JOURNAL, error, started=self._head.size > 0) from error
        self._usable = True
        self._offset += len(data)

    def _check_untouched(self) -> None:
        """Nobody else has written to the file, and it is still there for a reader to find."""
        found = os.fstat(self._file)
        if found.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "it was removed while the run was going on")
        if found.st_size != self._offset:
            raise JournalHeld(
                f"another process has written to the journal of {self.run}",
                stands="this process has stopped and touches nothing further",
                hint=f"dr audit verify {self.run}",
            )


class StoredRun(msgspec.Struct, frozen=True):
    """A run as it stands on the disk: the reader's side. Fetches bytes; `dr.audit.chain` judges them."""

    directory: Path

    @property
    def run(self) -> str:
        return self.directory.name

    def plan(self) -> bytes:
        """The stored plan, as bytes."""
        return self._read(PLAN)

    def checkpoint_lines(self) -> tuple[bytes, ...]:
        """The raw lines of the checkpoints; none when there is no file yet. An unfinished last line is left out."""
        path = self.directory / CHECKPOINTS
        return tuple(self._read(CHECKPOINTS).split(b"\n")[:-1]) if path.exists() else ()

    def checkpoints(self) -> tuple[chain.Checkpoint, ...]:
        """The checkpoints; their signatures are not judged here.

        Raises:
            JournalBroken: one cannot be read.
        """
        try:
            return tuple(map(chain.decode_checkpoint, self.checkpoint_lines()))
        except ValueError as error:
            raise _broken(self.run, f"{CHECKPOINTS} cannot be read: {error}") from error

    def verify(self) -> tuple[chain.Head, Torn | None]:
        """Verify the chain and the checkpoints; the head, and an unfinished last line if there is one.

        Raises:
            JournalBroken: the entry is named.
        """
        tail: list[bytes] = []
        try:
            head = chain.check(chain.split(self._blocks(), tail), checkpoints=self._own_checkpoints())
        except chain.Broken as broken:
            raise _broken(self.run, str(broken)) from broken
        return head, _torn(head, tail)

    def judge(self, signers: AllowedSigners | None, *, allow_unsigned: bool = False) -> tuple[Verdict, Torn | None]:
        """Verify the chain, the checkpoints and their signatures; an unfinished last line is told apart.

        Checkpoints are read first: of a run that goes on meanwhile they must not know more than the journal does.

        Raises:
            JournalBroken: it was tampered with or damaged; each finding is named.
        """
        tail: list[bytes] = []
        marks = self.checkpoint_lines()
        lines = chain.split(self._blocks(), tail)
        verdict = judge(self.run, lines, marks, signers, allow_unsigned=allow_unsigned)
        if verdict.tampered:
            raise _broken(self.run, "\n  ".join(verdict.tampered))
        return verdict, _torn(verdict.head, tail)

    def entries(self) -> Iterator[Entry]:
        """The entries, decoded one after the other. The chain is not verified here.

        Raises:
            JournalBroken: a line is not an entry, or one of another run.
        """
        for number, line in enumerate(chain.split(self._blocks(), [])):
            try:
                entry = decode_entry(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _broken(self.run, f"entry {number}: it cannot be read ({error})") from error
            if entry.run != self.run:
                raise _broken(self.run, f"entry {number}: it belongs to the run {entry.run}")
            yield entry

    def raw(self) -> Iterator[bytes]:
        """The raw lines."""
        return chain.split(self._blocks(), [])

    def holder(self) -> str:
        """Who wrote to the journal last, for messages: `pid 123 on host`."""
        try:
            return (self.directory / HOLDER).read_text(encoding="utf-8").strip() or UNKNOWN_HOLDER
        except (OSError, UnicodeDecodeError):
            return UNKNOWN_HOLDER

    def is_held(self) -> bool:
        """Whether a live process holds the journal."""
        try:
            file = os.open(self.directory / JOURNAL, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def resume(self, who: str, seal: chain.Seal = chain.unsealed) -> tuple[LocalJournal, Torn | None]:
        """Take the lock, verify, set an unfinished last line aside, and open the journal for appending.

        Args:
            who: this process, for the message another one gets (`pid 123 on host`).
            seal: signs the checkpoints.

        Raises:
            JournalHeld: another process has it.
            JournalBroken: it does not verify; nothing was changed.
            JournalUnwritable: the unfinished line could not be set aside.
        """
        try:
            file = os.open(self.directory / JOURNAL, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise _unwritable(self.run, self.directory / JOURNAL, error, started=True) from error
        try:
            _lock(file, self)
            head, torn = self.verify()
            offset = os.fstat(file).st_size
            if torn is not None:
                offset -= torn.bytes
                _set_aside(self, file, torn, offset)
            _write_holder(self.directory, who)
        except BaseException:
            os.close(file)
            raise
        return LocalJournal(self.directory, file, head, offset, seal), torn

    def _blocks(self) -> Iterator[bytes]:
        try:
            with (self.directory / JOURNAL).open("rb", buffering=0) as file:
                while block := file.read(BLOCK):
                    yield block
        except OSError as error:
            raise _broken(self.run, f"{JOURNAL} cannot be read: {error.strerror}") from error

    def _own_checkpoints(self) -> tuple[chain.Checkpoint, ...]:
        found = self.checkpoints()
        for item in found:
            if item.run != self.run:
                raise _broken(self.run, f"{CHECKPOINTS} holds a checkpoint of the run {item.run}")
        return found

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / name).read_bytes()
        except OSError as error:
            raise _broken(self.run, f"{name} cannot be read: {error.strerror}") from error


class LocalBook:
    """All runs of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runs = directory / "runs"

    def create(self, run: str, plan: bytes, who: str, seal: chain.Seal = chain.unsealed) -> LocalJournal:
        """A new, empty journal, locked; the plan beside it. Everything is on stable storage when this returns.

        Raises:
            JournalUnwritable: there is no room or no permission, or the name is taken.
        """
        place = self._runs / run
        with contextlib.ExitStack() as undo:
            try:
                _make_folder(self._runs)
                place.mkdir()
                undo.callback(shutil.rmtree, place, ignore_errors=True)
                _create(place / PLAN, plan)
                file = os.open(place / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
                undo.callback(os.close, file)
                _lock(file, StoredRun(place))
                os.fsync(file)
                _write_holder(place, who)
                for directory in (place, self._runs, self.directory):
                    _sync_directory(directory)
            except OSError as error:
                raise _unwritable(run, place, error, started=False) from error
            undo.pop_all()
        return LocalJournal(place, file, chain.EMPTY, 0, seal)

    def runs(self) -> tuple[StoredRun, ...]:
        """All runs, oldest first: the names sort by time. One whose journal was removed still has its checkpoints."""
        if not self._runs.is_dir():
            return ()
        places = sorted(self._runs.iterdir())
        return tuple(
            StoredRun(place) for place in places if any((place / name).exists() for name in (JOURNAL, CHECKPOINTS))
        )

    def find(self, name: str) -> StoredRun:
        """The run of that name, or of the only name that begins with it; `latest` is the newest.

        Raises:
            NoSuchRun: none or several fit.
        """
        exact = self._runs / name
        if name and Path(name).name == name and (exact / JOURNAL).exists():
            return StoredRun(exact)
        runs = self.runs()
        fits = runs[-1:] if name == "latest" else tuple(item for item in runs if name and item.run.startswith(name))
        if len(fits) == 1:
            return fits[0]
        if fits:
            names = ", ".join(item.run for item in fits[:5])
            raise NoSuchRun(f"{name!r} fits {len(fits)} runs: {names}", hint="give more of the name")
        raise NoSuchRun(f"there is no run {name!r} in {self.directory}", hint="dr runs")


def _lock(file: int, stored: StoredRun) -> None:
    for _ in range(LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_EVERY)
        else:
            return
    raise JournalHeld(
        f"the run {stored.run} is held by {stored.holder()}",
        stands="nothing was touched",
        hint=f"wait until that process has ended, or look at it with `dr show {stored.run}`",
    )


def _set_aside(stored: StoredRun, file: int, torn: Torn, offset: int) -> None:
    """Keep the unfinished bytes in a file of their own, then cut them off the journal.

    The name tells them from another unfinished line in the same place, which two crashes in a row can leave. A crash in
    here changes nothing: the file gets its name when it is whole.
    """
    try:
        whole = stored.directory / f"torn-{torn.seq}-{torn.sha256[:16]}"
        part = whole.with_suffix(".part")
        part.unlink(missing_ok=True)
        _create(part, os.pread(file, torn.bytes, offset))
        part.rename(whole)
        _sync_directory(stored.directory)
        os.ftruncate(file, offset)
        os.fsync(file)
    except OSError as error:
        raise _unwritable(stored.run, stored.directory / JOURNAL, error, started=True) from error


def _torn(head: chain.Head, tail: list[bytes]) -> Torn | None:
    return Torn(head.size, len(tail[0]), sha256(tail[0]).hexdigest()) if tail else None


def _cut_unfinished(file: int) -> None:
    """Cut off a last line that has no end: the next one would be written onto it, and neither could be read."""
    content = os.pread(file, os.fstat(file).st_size, 0)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.ftruncate(file, whole)


def _make_folder(path: Path) -> None:
    """Create the folder and those above it that are missing, each name on stable storage."""
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)


def _create(path: Path, content: bytes) -> None:
    """Create a file that must not exist, and sync it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        _write_all(file, content)
        os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    """Write everything: a full disk may take a part, and then refuses the rest with the errno that says why."""
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


def _write_holder(directory: Path, who: str) -> None:
    """Only for messages; the lock is what counts."""
    with contextlib.suppress(OSError):
        (directory / HOLDER).write_text(who + "\n", encoding="utf-8")


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unwritable(run: str, path: Path, error: OSError, *, started: bool) -> JournalUnwritable:
    return JournalUnwritable(
        f"the journal cannot be written: {path}: {error.strerror}",
        stands="stopped before the next effect; what is recorded so far is safe" if started else "nothing was touched",
        hint="make room or mend the permissions, then: dr " + (f"resume {run}" if started else "run"),
    )


def _broken(run: str, what: str) -> JournalBroken:
    return JournalBroken(
        f"the journal of {run} does not verify: {what}",
        stands="nothing was touched",
        hint=f"dr audit show {run}",
    )
