"""Objects in a local directory, as a `Store` has them: where the locks of environments are that need no home."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dr.audit.disk import make_folder, replace
from dr.audit.store import Stored, StoreRefused, Taken


class Directory:
    """Objects are files, created once. It keeps no versions: who can write to the directory can change them."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self._directory = directory

    def create(self, key: str, data: bytes, *, within: float) -> None:
        path = self._directory / key
        try:
            make_folder(path.parent)
            with _alone(path.parent):
                if path.exists():
                    raise Taken(f"{path} is taken")
                replace(path, data)
        except OSError as error:
            raise StoreRefused(f"{path}: {error.strerror}") from None

    def read(self, stored: Stored) -> bytes:
        try:
            return (self._directory / stored.key).read_bytes()
        except OSError as error:
            raise StoreRefused(f"{self._directory / stored.key}: {error.strerror}") from None

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects directly in a folder; `prefix` ends in `/`."""
        names = sorted(path.name for path in (self._directory / prefix).glob("*.json"))
        return (Stored(key=prefix + name, version=name) for name in names)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: a file that was left unfinished by a killed one is nobody's."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
