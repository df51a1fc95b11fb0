"""Objects in a local directory."""

from pathlib import Path

import pytest

from dr.audit.directory import Directory
from dr.audit.store import StoreRefused, Taken


def test_an_object_is_created_once_and_read_as_it_was(place: Path) -> None:
    directory = Directory(place)
    directory.create("locks/shop/0.json", b"mine", within=1.0)
    with pytest.raises(Taken):
        directory.create("locks/shop/0.json", b"theirs", within=1.0)
    [stored] = directory.list("locks/shop/")
    assert (stored.key, directory.read(stored)) == ("locks/shop/0.json", b"mine")


def test_what_a_killed_process_left_unfinished_is_nobodys(place: Path) -> None:
    (place / "locks").mkdir()
    (place / "locks/0.json.part").write_bytes(b"half")
    directory = Directory(place)
    assert list(directory.list("locks/")) == []
    directory.create("locks/0.json", b"whole", within=1.0)
    assert [path.name for path in (place / "locks").iterdir()] == ["0.json"]


def test_where_nothing_was_stored_there_is_nothing(place: Path) -> None:
    assert list(Directory(place).list("locks/shop/")) == []


def test_a_directory_that_refuses_says_why(place: Path) -> None:
    (place / "locks").write_bytes(b"")
    directory = Directory(place)
    with pytest.raises(StoreRefused, match=r"File exists|Not a directory"):
        directory.create("locks/shop/0.json", b"", within=1.0)
    directory.create("other/0.json", b"", within=1.0)
    [stored] = directory.list("other/")
    (place / "other/0.json").unlink()
    with pytest.raises(StoreRefused, match="No such file"):
        directory.read(stored)
