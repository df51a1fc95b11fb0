"""A run as it stands on the disk: read, judged, and opened again for writing."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from dr.audit import chain
from dr.audit.allowed_signers import AllowedSigners
from dr.audit.disk import regular, replace, unwritable
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN, LocalJournal
from dr.audit.verdict import Verdict, judge
from dr.core.events import Entry, decode_entry
from dr.errors import JournalBroken, JournalHeld, JournalUnreadable

BLOCK = 1 << 18
LARGEST = 1 << 28
"""Bytes of a plan or of all checkpoints: a plan of 10,000 steps has 6 million, a checkpoint 600."""
HOLDER = "holder"
UNKNOWN_HOLDER = "an unknown process"
LOOKS = 20
"""How often a lock is tried before it counts as held: whoever asks whether a run is held has it for a moment."""
LOOK_EVERY = 0.01
"""Seconds between two tries."""


class Torn(msgspec.Struct, frozen=True):
    """What a crash in the middle of a write leaves at the end: an unfinished line, or some with a hole in them.

    Nothing was done on the strength of it (safety rule 1).
    """

    seq: int
    bytes: int
    sha256: str


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
        return tuple(chain.marks(self._read(CHECKPOINTS))) if path.exists() else ()

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
            head = chain.check(chain.split(self.blocks(JOURNAL), tail), checkpoints=self._own_checkpoints())
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
        lines = chain.split(self.blocks(JOURNAL), tail)
        verdict = judge(self.run, lines, marks, signers, allow_unsigned=allow_unsigned)
        if verdict.tampered:
            raise _broken(self.run, "\n  ".join(verdict.tampered))
        return verdict, _torn(verdict.head, tail)

    def entries(self) -> Iterator[Entry]:
        """The entries, decoded one after the other. The chain is not verified here.

        Raises:
            JournalBroken: a line is not an entry, or one of another run.
        """
        for number, line in enumerate(chain.split(self.blocks(JOURNAL), [])):
            try:
                entry = decode_entry(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _broken(self.run, f"entry {number}: it cannot be read ({error})") from error
            if entry.run != self.run:
                raise _broken(self.run, f"entry {number}: it belongs to the run {entry.run}")
            yield entry

    def raw(self) -> Iterator[bytes]:
        """The raw lines."""
        return chain.split(self.blocks(JOURNAL), [])

    def exists(self) -> bool:
        return (self.directory / JOURNAL).exists()

    def holder(self) -> str:
        """Who wrote to the journal last, for messages: `pid 123 on host`."""
        try:
            told = (self.directory / HOLDER).read_text(encoding="utf-8")
            return told.strip("\0\n") or UNKNOWN_HOLDER  # it is not synced, so a power cut may leave zeros
        except (OSError, UnicodeDecodeError):
            return UNKNOWN_HOLDER

    def is_held(self) -> bool:
        """Whether a live process holds the journal."""
        try:
            file = regular(self.directory / JOURNAL, os.O_RDONLY)
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
            raise unwritable(self.run, self.directory / JOURNAL, error, started=True) from error
        try:
            lock(file, self)
            head, torn = self.verify()
            offset = os.fstat(file).st_size
            offset -= torn.bytes if torn else 0
            _settle(self, file, torn, offset)
            write_holder(self.directory, who)
        except BaseException:
            os.close(file)
            raise
        return LocalJournal(self.directory, file, head, offset, seal), torn

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of one of its files.

        Raises:
            JournalBroken, JournalUnreadable: it cannot be read.
        """
        try:
            with open(self.directory / name, "rb", buffering=0, opener=regular) as file:
                while block := file.read(BLOCK):
                    yield block
        except OSError as error:
            raise _unread(self.run, name, error) from error

    def _own_checkpoints(self) -> tuple[chain.Checkpoint, ...]:
        found = self.checkpoints()
        for item in found:
            if item.run != self.run:
                raise _broken(self.run, f"{CHECKPOINTS} holds a checkpoint of the run {item.run}")
        return found

    def _read(self, name: str) -> bytes:
        try:
            with open(self.directory / name, "rb", opener=regular) as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise _unread(self.run, name, error) from error
        if len(content) > LARGEST:
            raise _broken(self.run, f"{name} is larger than {LARGEST:,} bytes")
        return content


def lock(file: int, stored: StoredRun) -> None:
    """Take the kernel lock of a run's journal file. Raises JournalHeld: another process keeps it."""
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


def _settle(stored: StoredRun, file: int, torn: Torn | None, offset: int) -> None:
    """Make durable what is there: a process may have written it that was killed before its sync.

    What is unfinished behind `offset` is kept in a file of its own, and then cut off. Its name tells it from another
    one in the same place, which two crashes in a row can leave. A crash in here changes nothing: the file gets its name
    when it is whole.
    """
    try:
        if torn is not None:
            replace(stored.directory / f"torn-{torn.seq}-{torn.sha256[:16]}", os.pread(file, torn.bytes, offset))
            os.ftruncate(file, offset)
        os.fsync(file)
    except OSError as error:
        raise unwritable(stored.run, stored.directory / JOURNAL, error, started=True) from error


def _torn(head: chain.Head, tail: list[bytes]) -> Torn | None:
    return Torn(head.size, len(tail[0]), sha256(tail[0]).hexdigest()) if tail else None


def write_holder(directory: Path, who: str) -> None:
    """Note who has the journal, for messages; the lock is what counts."""
    with contextlib.suppress(OSError):
        (directory / HOLDER).write_text(who + "\n", encoding="utf-8")


def _unread(run: str, name: str, error: OSError) -> JournalBroken | JournalUnreadable:
    """The error of a file that is not there or is none; of one that the system keeps from us nothing is known."""
    if error.errno not in {errno.EACCES, errno.EPERM, errno.EIO}:
        return _broken(run, f"{name} cannot be read: {error.strerror}")
    return JournalUnreadable(
        f"the journal of {run} cannot be read: {name}: {error.strerror}",
        stands="nothing was touched",
        hint="again as a user who may read it",
    )


def _broken(run: str, what: str) -> JournalBroken:
    return JournalBroken(
        f"the journal of {run} does not verify: {what}",
        stands="nothing was touched",
        hint=f"dr audit show {run}",
    )
