"""Books with a home in memory: one machine each, all of one bucket."""

from collections.abc import Sequence
from pathlib import Path

from dr.audit.agreement import Rulings
from dr.audit.book import LocalBook
from dr.audit.home import HomeBook
from dr.audit.journal import Draft, Journal
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.events import encode_entry
from dr.core.plan import encode_plan
from tests.audit.written import ME, NINE, RUN, drafts
from tests.memory_store import Bucket

HOME, MIRROR = "s3://memory/home", "s3://memory/mirror"
OTHER = "20230515T150000Z-simulated-000001"
PLAN = encode_plan(NINE)
DRILL = "drill"


class Machine:
    """A machine: its directory, its ways to the home and to the mirror, and what it was warned of."""

    def __init__(self, place: Path, home: Bucket, mirror: Bucket | None = None) -> None:
        self.place = place
        self.home = home.store(HOME)
        self.mirrors = [mirror.store(MIRROR)] if mirror else []
        self.warnings: list[str] = []

    def book(self, *, without_home: str = "", take_over: bool = False, trust: str = "") -> HomeBook:
        """What one process opens."""
        rulings = Rulings(without_home=without_home, take_over=take_over, trust=trust)
        return HomeBook(LocalBook(self.place), self.home, self.mirrors, rulings, self.warnings.append)

    def stored(self, run: str = RUN) -> StoredRun:
        return StoredRun(self.place / "runs" / run)

    def begin(self, size: int, run: str = RUN, *, book: HomeBook | None = None) -> tuple[HomeBook, Journal]:
        """A process that has started a run and written its first entries."""
        book = book or self.book()
        journal = book.create(run, PLAN, DRILL, ME)
        write(journal, drafts()[:size])
        return book, journal

    def die(self, journal: Journal) -> None:
        """The process is gone: the kernel takes its lock back, and nothing else is done."""
        journal.close()

    def whole_run(self, run: str = RUN) -> StoredRun:
        """A run from its start to its end."""
        book, journal = self.begin(30, run)
        journal.checkpoint("2023-05-15T14:00:00.000000Z", "ada")
        book.leave(journal, ended=True)
        return self.stored(run)


def write(journal: Journal, todo: Sequence[Draft]) -> list[e.Event]:
    """Append the drafts, and what the journal says of its copies, as the engine does; the latter."""
    said: list[e.Event] = []
    for draft in todo:
        journal.append([draft])
        notices = journal.notices()
        said += notices
        for event in notices:
            journal.append([Draft(draft.at, draft.actor, event)])
    return said


def lines(stored: StoredRun) -> list[bytes]:
    return [encode_entry(entry) for entry in stored.entries()]
