"""Simulated runs in a real journal on a real disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from dr.audit.book import LocalBook
from dr.audit.journal import JOURNAL, Draft, LocalJournal
from dr.audit.stored import StoredRun
from dr.core.events import Entry, Event
from dr.core.plan import Plan, encode_plan
from dr.engine import Engine
from tests.simulated.journal import Crash, Disk, Fuse
from tests.simulated.process import Simulation
from tests.simulated.site import Script

ME = "pid 1 on here"


class Shown:
    """A `LocalJournal` whose file the referee sees, and whose writes can be cut as a kill cuts them."""

    def __init__(self, journal: LocalJournal, path: Path, disk: Disk, fuse: Fuse) -> None:
        self.run = journal.run
        self.cut: tuple[int, int] | None = None
        """Number of the append, and how many of its bytes reach the disk."""
        self._journal = journal
        self._path = path
        self._disk = disk
        self._fuse = fuse
        self._appends = 0
        self.show()

    def show(self) -> None:
        """What is on the disk now; complete lines only."""
        for line in self._path.read_bytes().split(b"\n")[len(self._disk.lines) : -1]:
            self._disk.persist(line)

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        self._fuse.point("before an append")
        before = self._path.stat().st_size
        try:
            entries = self._journal.append(drafts)
            if self.cut and self.cut[0] == self._appends:
                os.truncate(self._path, min(before + self.cut[1], self._path.stat().st_size))
                raise Crash("in the middle of a write")
        finally:
            self.show()
        self._appends += 1
        self._fuse.point("after an append")
        return entries

    def checkpoint(self, at: str, actor: str) -> None:
        self._fuse.point("before a checkpoint")
        self._journal.checkpoint(at, actor)
        self._fuse.point("after a checkpoint")

    def notices(self) -> Sequence[Event]:
        return self._journal.notices()

    def close(self) -> None:
        self._journal.close()


class LocalSimulation(Simulation):
    """One run in one simulated world, recorded in `directory`."""

    run_name = "20230515T140000Z-simulated-000000"

    def __init__(self, plan: Plan, directory: Path, scripts: dict[str, Script] | None = None) -> None:
        super().__init__(plan, scripts)
        self._book = LocalBook(directory)
        self.journal: Shown | None = None

    def stored(self) -> StoredRun:
        return self._book.find(self.run_name)

    def start(self, fuse: Fuse | None = None, cut: tuple[int, int] | None = None) -> Engine:
        """The first process."""
        journal = self._book.create(self.run_name, encode_plan(self.plan), ME)
        self._show(journal, fuse).cut = cut
        return self.engine_on(self._shown())

    def resume(self, fuse: Fuse | None = None) -> Engine:
        """A process that goes on from what is on the disk."""
        journal, torn = self.stored().resume(ME)
        self._show(journal, fuse)
        return self.engine_on(self._shown(), torn)

    def crash(self) -> None:
        """The process is gone, and with it its lock."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def _show(self, journal: LocalJournal, fuse: Fuse | None) -> Shown:
        self.site.fuse = fuse or Fuse()
        self.journal = Shown(journal, self.stored().directory / JOURNAL, self.disk, self.site.fuse)
        return self.journal

    def _shown(self) -> Shown:
        assert self.journal
        return self.journal
