import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dr.targets.protocols import TargetUnreachable
from dr.targets.transport.textfile import TextFile


def file_at(path: Path, seconds: float = 30.0) -> TextFile:
    return TextFile(str(path), time.monotonic() + seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text("old")
    return path


def test_nothing_is_left_beside_the_file(path: Path) -> None:
    (path.parent / f".{path.name}.killed.dr-new").write_text("left by a crash")
    file_at(path).rewrite(lambda _: "new")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_another_writer_is_still_writing_is_left_alone(path: Path) -> None:
    theirs = path.parent / f".{path.name}.theirs.dr-new"
    with theirs.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        file_at(path).rewrite(lambda _: "ours")
        assert theirs.exists()


def test_a_file_that_was_taken_for_abandoned_is_written_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    removed: list[Path] = []

    def after_a_sweep(opened: int, operation: int) -> None:
        for fresh in [] if removed else path.parent.glob(".*.dr-new"):
            fresh.unlink()
            removed.append(fresh)
        flock(opened, operation)

    monkeypatch.setattr(fcntl, "flock", after_a_sweep)
    file_at(path).rewrite(lambda old: old + " and new")
    assert removed
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "old and new"


def test_writers_side_by_side_lose_nothing(path: Path) -> None:
    path.write_text("")

    def add(letter: str) -> None:
        for _ in range(50):
            file_at(path).rewrite(lambda text: text + letter)

    threads = [threading.Thread(target=add, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text()) == sorted("abcd" * 50)


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_not_trusted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    held: list[int] = []

    def after_another_writer(opened: int, operation: int) -> None:
        if not held:  # between our open and our lock, another writer puts its file there, and a third locks that
            theirs = path.with_name("theirs")
            theirs.write_text("theirs")
            theirs.rename(path)
            held.append(os.open(path, os.O_RDONLY))
            flock(held[0], fcntl.LOCK_EX)
        flock(opened, operation)

    monkeypatch.setattr(fcntl, "flock", after_another_writer)
    with pytest.raises(TargetUnreachable, match="locked by another process"):
        file_at(path, 0.05).rewrite(lambda _: "ours")
    os.close(held[0])
    assert path.read_text() == "theirs"


HOLD_THE_LOCK = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_never_released_does_not_hang(path: Path) -> None:
    argv = [sys.executable, "-c", HOLD_THE_LOCK, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(TargetUnreachable, match="locked by another process"):
            file_at(path, 0.05).rewrite(lambda _: "new")
        holder.communicate()
    file_at(path).rewrite(lambda _: "new")
    assert path.read_text() == "new"
