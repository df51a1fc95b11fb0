"""Where the journals of these tests are written."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import dr.audit.s3_client  # noqa: F401 - before the first test, so that its lines are covered whoever is the first to load it
from dr.audit.journal import LocalJournal
from dr.audit.stored import StoredRun
from localstack.instance import CREDENTIALS, LocalStack
from tests.audit.attacked import Attacked
from tests.audit.homes import Machine
from tests.audit.written import create, write
from tests.localstack_fixture import create_buckets
from tests.memory_store import Bucket
from tests.s3_world import S3Bucket, credentials

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


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that has written a run of thirty entries, each an object of its own, with a checkpoint at its end."""
    machine = Machine(tmp_path_factory.mktemp("thirty"), Bucket())
    machine.whole_run()
    return machine


@pytest.fixture(params=["memory", pytest.param("LocalStack", marks=pytest.mark.untraced)])
def attackable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket | S3Bucket]:
    """A bucket in which whoever may delete can remove versions. Memory's alone would hide what S3 does differently."""
    if request.param == "memory":
        yield Bucket()
        return
    localstack: LocalStack = request.getfixturevalue("localstack")
    with credentials(monkeypatch, **CREDENTIALS):
        yield S3Bucket(localstack, create_buckets(localstack, locked=False).home)


@pytest.fixture
def attacked(thirty: Machine, attackable: Bucket | S3Bucket) -> Attacked:
    """The home of that run, to attack."""
    return Attacked(attackable, thirty)


@pytest.fixture
def here(place: Path, home: Bucket) -> Machine:
    """A machine whose journal has a home."""
    return Machine(place / "here", home)


@pytest.fixture
def there(place: Path, home: Bucket) -> Machine:
    """Another one with the same home."""
    return Machine(place / "there", home)
