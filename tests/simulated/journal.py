"""Stable storage that outlives a process, and the killing of processes."""

from collections.abc import Sequence

from dr.audit import chain
from dr.audit.journal import Draft
from dr.core.events import Entry, Event, decode_entry, encode_entry
from dr.errors import JournalUnwritable


class Crash(BaseException):
    """kill -9. No `except Exception` may see it."""


class Fuse:
    """Kills the process when it passes its point number `at`; counts the points of one that lives."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.passed: list[str] = []

    def point(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self.at:
            raise Crash(name)


class Disk:
    """The lines of one journal. What is in here is durable."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.events: list[Event] = []
        self.actors: list[str] = []
        self.checkpoints: list[chain.Checkpoint] = []

    def persist(self, line: bytes) -> None:
        entry = decode_entry(line)
        self.lines.append(line)
        self.events.append(entry.event)
        self.actors.append(entry.actor)

    def head(self) -> chain.Head:
        return chain.check(self.lines, checkpoints=self.checkpoints)


class MemoryJournal:
    """A `Journal` over a `Disk`.

    The entries of one append become durable one after the other, as a killed write leaves them.
    """

    run = "20230515T140000Z-simulated-000000"

    def __init__(self, disk: Disk, fuse: Fuse, room: int | None = None) -> None:
        self._disk = disk
        self._fuse = fuse
        self._head = disk.head()
        self._room = room
        """Entries that still fit; None: as many as come."""

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        entries = []
        for draft in drafts:
            entry = Entry(
                prev=self._head.hash,
                seq=self._head.size,
                run=self.run,
                at=draft.at,
                actor=draft.actor,
                event=draft.event,
            )
            line = encode_entry(entry)
            self._fuse.point(f"before entry {entry.seq} ({type(entry.event).__name__})")
            if self._room is not None and len(self._disk.lines) >= self._room:
                raise JournalUnwritable("no room")
            self._disk.persist(line)
            self._head = chain.link(self._head, line)
            entries.append(entry)
        self._fuse.point(f"after entry {self._head.size - 1}")
        return tuple(entries)

    def checkpoint(self, at: str, actor: str) -> None:
        self._fuse.point("before a checkpoint")
        mark = chain.Checkpoint(run=self.run, size=self._head.size, head=self._head.hash, at=at, actor=actor)
        self._disk.checkpoints.append(mark)
        self._fuse.point("after a checkpoint")

    def notices(self) -> Sequence[Event]:
        return ()

    def close(self) -> None:
        pass
