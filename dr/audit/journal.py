"""The journal of a run in a local directory: the side that writes.

    <directory>/runs/<run>/plan.json          the plan, created once
                           journal.jsonl      the entries, appended and synced
                           checkpoints.jsonl  size and head at each pause and at the end
                           torn-<seq>-<hash>  what a crash left unfinished, kept when the run was resumed

One writer holds a lock on the journal file; the kernel releases it when the process ends, however it ends.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from dr.audit import chain
from dr.audit.disk import replace, sync_directory, unwritable, write_all
from dr.core.events import Entry, Event, encode_entry
from dr.errors import JournalHeld, JournalUnwritable

JOURNAL = "journal.jsonl"
PLAN = "plan.json"
CHECKPOINTS = "checkpoints.jsonl"


class Draft(msgspec.Struct, frozen=True):
    """An event on its way into the journal."""

    at: str
    actor: str
    event: Event


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

    def notices(self) -> Sequence[Event]:
        """What has happened to the copies of the journal since the last call; each becomes an entry."""
        ...

    def close(self) -> None: ...


class LocalJournal:
    """The `Journal` of a run in its directory."""

    def __init__(self, directory: Path, file: int, head: chain.Head, offset: int, seal: chain.Seal) -> None:
        self.run = directory.name
        self.directory = directory
        self._seal = seal
        self._file = file
        self._head = head
        self._offset = offset
        self._usable = True

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        self._check_usable()
        head, entries, lines = self._head, [], []
        first = None
        for draft in drafts:
            entry = Entry(
                prev=head.hash,
                seq=head.size,
                first=first,
                run=self.run,
                at=draft.at,
                actor=draft.actor,
                event=draft.event,
            )
            first = self._head.size
            line = encode_entry(entry)
            head = chain.link(head, line)
            entries.append(entry)
            lines.append(line)
        self._write(chain.joined(lines))
        self._head = head
        return tuple(entries)

    def checkpoint(self, at: str, actor: str) -> None:
        mark = chain.Checkpoint(run=self.run, size=self._head.size, head=self._head.hash, at=at, actor=actor)
        self._write_checkpoint(chain.encode_checkpoint(self._seal(mark)))

    def _write_checkpoint(self, line: bytes) -> None:
        try:
            file = os.open(self.directory / CHECKPOINTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
            try:
                _cut_unfinished(file)
                write_all(file, line + b"\n")
                os.fsync(file)
            finally:
                os.close(file)
            sync_directory(self.directory)
        except OSError as error:
            raise unwritable(self.run, self.directory / CHECKPOINTS, error, started=True) from error

    def notices(self) -> Sequence[Event]:
        return ()

    @property
    def head(self) -> chain.Head:
        return self._head

    def adopt(self, lines: Sequence[bytes], marks: Sequence[bytes]) -> None:
        """Append lines and checkpoints that were written elsewhere and are known to follow what is here.

        Raises:
            JournalUnwritable
        """
        self._check_usable()
        if lines:
            head = chain.check(lines, self._head)
            for together in chain.writes(lines):
                self._write(chain.joined(together))
            self._head = head
        for mark in marks:
            self._write_checkpoint(mark)

    def cut(self, size: int) -> None:
        """Take away the lines from number `size` on, and the checkpoints that know of them. All is kept in other files.

        Raises:
            JournalUnwritable
        """
        self._check_usable()
        lines = chain.complete((self.directory / JOURNAL).read_bytes())
        known = self.directory / CHECKPOINTS
        marks = chain.marks(known.read_bytes()) if known.exists() else []
        left = [mark for mark in marks if chain.decode_checkpoint(mark).size <= size]
        aside = self.directory / f"aside-{size}-{self._head.hash[:16]}"
        content = chain.joined(lines[:size])
        try:
            replace(aside, chain.joined(lines[size:]))
            replace(aside.with_suffix(".checkpoints"), chain.joined(marks))
            replace(known, chain.joined(left))
            self._replace(content)
        except OSError as error:
            raise unwritable(self.run, self.directory / JOURNAL, error, started=True) from error
        self._offset = len(content)
        self._head = chain.check(lines[:size])

    def _replace(self, content: bytes) -> None:
        """Put another file in the place of this one, and lock it. Who waits for the lock of the old one cannot write.

        (Not cut short: a power cut could leave zeros in what is cut off and the old size, which looks like tampering.)
        """
        replace(self.directory / JOURNAL, content)
        file = os.open(self.directory / JOURNAL, os.O_RDWR | os.O_APPEND)
        os.close(self._file)
        self._file = file
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

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
            write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError as error:
            raise unwritable(self.run, self.directory / JOURNAL, error, started=self._head.size > 0) from error
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


def _cut_unfinished(file: int) -> None:
    """Cut off a last line that has no end: the next one would be written onto it, and neither could be read.

    What is left is synced before the next one comes: it may have been written by a process that was killed before its
    sync, and of two lines that are not synced a power cut may leave the second and a part of the first.
    """
    content = os.pread(file, os.fstat(file).st_size, 0)
    if content:
        os.ftruncate(file, chain.finished(content))
        os.fsync(file)
