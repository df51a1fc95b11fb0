"""What a small text file promises, on this machine and on another host over SSH."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dr.targets import ssh
from dr.targets.protocols import Conflict, TargetUnreachable
from dr.targets.transport.ssh_file import SshFile
from dr.targets.transport.ssh_program import SshPrograms
from dr.targets.transport.textfile import MAX_BYTES, TextFile
from tests.here import opening
from tests.sshd import fleet

FileAt = Callable[[Path], TextFile | SshFile]


def soon() -> float:
    return time.monotonic() + 30


@pytest.fixture(params=["here", "over ssh"], scope="module")
def file_at(request: pytest.FixtureRequest) -> Iterator[FileAt]:
    if request.param == "here":
        yield lambda path: TextFile(str(path), soon())
        return
    with fleet(1) as hosts:
        programs = SshPrograms("pool", ssh.open_target(hosts.group(), opening()), "/pool")
        yield lambda path: SshFile("pool", str(path), programs, soon())
        programs.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text("old")
    return path


def test_mode_and_owner_are_kept(file_at: FileAt, path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    file_at(path).rewrite(lambda _: "new")
    after = path.stat()
    assert path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_symbolic_link_stays_and_its_target_changes(file_at: FileAt, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.json"
    link.parent.mkdir()
    link.symlink_to("../flags.json")
    file_at(link).rewrite(lambda _: "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert [entry.name for entry in link.parent.iterdir()] == ["link.json"]


def test_a_poller_that_looks_for_a_later_time_sees_every_change(file_at: FileAt, path: Path) -> None:
    hour = 3600 * 10**9
    os.utime(path, ns=(time.time_ns() + hour, time.time_ns() + hour))
    for number in range(5):
        before = path.stat().st_mtime
        file_at(path).rewrite(lambda _, number=number: str(number))  # type: ignore[misc]
        assert path.stat().st_mtime > before


def test_an_unchanged_text_is_not_written(file_at: FileAt, path: Path) -> None:
    before = path.stat()
    file_at(path).rewrite(lambda text: text)
    assert path.stat().st_ino == before.st_ino


def test_an_edit_that_comes_in_between_is_not_lost(file_at: FileAt, path: Path) -> None:
    def change(text: str) -> str:
        if text == "old":
            path.write_text("theirs")  # an editor saves after dr has read
        return text + " and ours"

    file_at(path).rewrite(change)
    assert path.read_text() == "theirs and ours"


def test_a_file_that_never_stands_still_is_a_conflict(file_at: FileAt, path: Path) -> None:
    def change(text: str) -> str:
        path.write_text(text + "x")
        return "ours"

    with pytest.raises(Conflict, match="changed by somebody else"):
        file_at(path).rewrite(change)
    assert path.read_text() == "oldxxxxx"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_read_is_said_in_words(file_at: FileAt, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    latin = tmp_path / "latin"
    latin.write_bytes(b"caf\xe9")
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_BYTES + 1))
    for path, said in [
        (loop, "symbolic links"),
        (pipe, "not a regular file"),
        (tmp_path, "not a regular file|Is a directory"),
        (tmp_path / "missing", "No such file"),
        (latin, "not UTF-8: byte 3"),
        (large, "larger than 1048576 bytes"),
    ]:
        with pytest.raises(TargetUnreachable, match=said):
            file_at(path).read()
        with pytest.raises(TargetUnreachable, match=said):
            file_at(path).rewrite(lambda _: "new")


def test_a_text_that_shells_and_terminals_would_change_arrives_as_it_is(file_at: FileAt, path: Path) -> None:
    odd = "a 'b' \"c\" $(d) `e` \\ %s\r\n\t\u00e4\n\n\n"
    file_at(path).rewrite(lambda _: odd)
    assert path.read_bytes().decode() == odd
    assert file_at(path).read() == odd
