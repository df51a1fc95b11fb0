"""Where the journals of these tests are written."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.audit.journal import LocalJournal
from dr.audit.stored import StoredRun
from tests.audit.homes import Machine
from tests.audit.written import create, write
from tests.memory_store import Bucket

MEMORY = Path("/dev/shm")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where a sync costs nothing, if there is one; a kill does not ask what the disk is made of."""
    with tempfile.TemporaryDirectory(prefix="dr-test-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
def stored(place: Path) -> StoredRun:
    """A run of thirty entries."""
    return write(place)


@pytest.fixture
def journal(place: Path) -> Iterator[LocalJournal]:
    """A journal that is being written."""
    journal = create(place)
    yield journal
    journal.close()


@pytest.fixture
def home() -> Iterator[Bucket]:
    """The home of a journal, in memory."""
    with Bucket() as bucket:
        yield bucket


@pytest.fixture
def mirror() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


@pytest.fixture
def here(place: Path, home: Bucket) -> Machine:
    """A machine whose journal has a home."""
    return Machine(place / "here", home)


@pytest.fixture
def there(place: Path, home: Bucket) -> Machine:
    """Another one with the same home."""
    return Machine(place / "there", home)
