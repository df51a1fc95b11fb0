"""A `Store` in a local directory: where the locks of environments are when the journal has no home."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dr.audit.store import Stored, StoreRefused, Taken


class DirectoryStore:
    """Objects are files, created once. It keeps no versions: who can write to the directory can change them."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._directory = directory

    def create(self, key: str, data: bytes, *, within: float) -> None:
        path = self._directory / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.link(file.name, path)  # whole or not at all, and refused where there is one
            _sync(path.parent)
        except FileExistsError:
            if path.read_bytes() != data:
                raise Taken(f"{path} is taken") from None
        except OSError as error:
            raise StoreRefused(f"{path}: {error.strerror}") from None

    def read(self, stored: Stored) -> bytes:
        try:
            return (self._directory / stored.key).read_bytes()
        except OSError as error:
            raise StoreRefused(f"{self._directory / stored.key}: {error.strerror}") from None

    def list(self, prefix: str) -> Iterator[Stored]:
        """As `Store.list`; the prefix must end in `/`."""
        folder = self._directory / prefix
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return (Stored(key=prefix + name, version=name) for name in names if not name.startswith("."))


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
