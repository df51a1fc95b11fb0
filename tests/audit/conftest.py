"""Where the journals of these tests are written."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where a sync costs nothing, if there is one; a kill does not ask what the disk is made of."""
    with tempfile.TemporaryDirectory(prefix="dr-test-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)
