"""The book of all runs in a local directory."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dr.audit import chain
from dr.audit.disk import create, make_folder, sync_directory, take_away, unwritable
from dr.audit.journal import CHECKPOINTS, JOURNAL, PLAN, LocalJournal
from dr.audit.stored import StoredRun, lock, write_holder
from dr.errors import NoSuchRun


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
                make_folder(self._runs)
                place.mkdir()
                undo.callback(take_away, place)
                create(place / PLAN, plan)
                file = os.open(place / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
                undo.callback(os.close, file)
                lock(file, StoredRun(place))
                os.fsync(file)
                write_holder(place, who)
                for directory in (place, self._runs, self.directory):
                    sync_directory(directory)
            except OSError as error:
                raise unwritable(run, place, error, started=False) from error
            undo.pop_all()
        return LocalJournal(place, file, chain.EMPTY, 0, seal)

    @contextlib.contextmanager
    def creating(self, run: str, plan: bytes, who: str, seal: chain.Seal) -> Iterator[LocalJournal]:
        """A new journal, as `create` makes it; it is taken away again if the block cannot get what else it needs."""
        journal = self.create(run, plan, who, seal)
        try:
            yield journal
        except BaseException:
            take_away(journal.directory)
            journal.close()
            raise

    def stored(self, run: str) -> StoredRun:
        """The run of exactly that name, whether it is there or not."""
        return StoredRun(self._runs / run)

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
        exact = self.stored(name)
        if name and Path(name).name == name and exact.exists():
            return exact
        return self.stored(choose(name, [item.run for item in self.runs()], str(self.directory)))


def choose(name: str, runs: Sequence[str], where: str) -> str:
    """The run of that name, or the only one whose name begins with it; `latest` is the last one.

    Raises:
        NoSuchRun: none or several fit.
    """
    fits = runs[-1:] if name == "latest" else [run for run in runs if run == name]
    fits = fits or [run for run in runs if name and run.startswith(name)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise NoSuchRun(f"{name!r} fits {len(fits)} runs: {', '.join(fits[:5])}", hint="give more of the name")
    raise NoSuchRun(f"there is no run {name!r} in {where}", hint="dr runs")
