"""What programs ask of the file system, as `strace` sees it: the record for `tests.power`.

Real programs and all that they start, so that nothing is written that the record does not know of; that it is complete
is checked against the folder itself, every time.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.power import ROOT, Disk, Mode, Name, Operation, Place, Say, State, Sync, Truncate, Write, seen

CALLS: Final = (
    "openat,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fallocate,sendfile,copy_file_range,mmap,fsync,fdatasync,"
    "sync,syncfs,sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,"
    "mkdirat,chmod,fchmod,fchmodat"
)
LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<[^>]*>)?(.*)", re.DOTALL)
BEGUN: Final = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>", re.DOTALL)
GOES_ON: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)", re.DOTALL)
ARGUMENT: Final = re.compile(
    r'"((?:\\x[0-9a-f]{2})*)"|(?:-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>(?:\(deleted\))?|([^,\s]+)'
)


def _works() -> bool:
    traced = ["strace", "-qqq", "-o", os.devnull, "true"]
    return (
        shutil.which("strace") is not None and subprocess.run(traced, check=False, capture_output=True).returncode == 0
    )


strace = pytest.mark.skipif(
    not _works(), reason="strace is not installed (apt-get install strace), or may not trace here"
)


class Record(msgspec.Struct, frozen=True):
    before: State
    asked: Sequence[Operation]
    status: int

    def without(self, number: int) -> "Record":
        """The same, one operation left out."""
        return Record(self.before, [*self.asked[:number], *self.asked[number + 1 :]], self.status)


def record(
    root: Path,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    inject: Sequence[str] = (),
    earlier: Record | None = None,
) -> Record:
    """Run a program in `root` to its end; what it asked for there, and what it wrote to its standard output.

    Args:
        root: a folder, all of whose files are safe.
        argv: the program.
        env: its environment.
        inject: strace's own: a call that fails, or that is the program's last.
        earlier: what was asked by programs before it; then not all is safe, and that is part of the record.
    """
    before = seen(root) if earlier is None else earlier.before
    with tempfile.NamedTemporaryFile("r", encoding="ascii", suffix=".strace") as told:
        options = [word for rule in inject for word in ("-e", f"inject={rule}")]
        done = subprocess.run(
            ["strace", "-f", "-qqq", "-xx", "-y", "-s", "16777216", "-e", "signal=none", "-e", f"trace={CALLS}",
             *options, "-o", told.name, "--", *argv],
            cwd=root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
            timeout=120,
        )  # fmt: skip
        reader = _Reader(root, before, earlier.asked if earlier else ())
        for call in _calls(told.read()):
            reader.follow(*call)
    assert reader.disk.now().tree == seen(root).tree, "the record lacks something"
    return Record(before, reader.asked, done.returncode)


def _calls(told: str) -> Iterator[tuple[str, list[str], int]]:
    """Name, arguments and result of each call that succeeded and was not suppressed, in the order of their ends."""
    begun: dict[str, str] = {}
    for line in told.splitlines():
        if found := BEGUN.fullmatch(line):
            begun[found[1]] = line.removesuffix(" <unfinished ...>")
            continue
        if found := GOES_ON.fullmatch(line):
            line = begun.pop(found[1]) + found[2]  # noqa: PLW2901 - the two halves of one line
        if (found := LINE.fullmatch(line)) and int(found[4]) >= 0 and "(INJECTED)" not in found[5]:
            yield found[2], [_plain(match) for match in ARGUMENT.finditer(found[3])], int(found[4])


def _plain(found: re.Match[str]) -> str:
    """An argument: a string's or a file descriptor's bytes in latin-1, anything else as it stands."""
    shown = found[1] if found[1] is not None else found[2]
    return found[3] if shown is None else bytes.fromhex(shown.replace("\\x", "")).decode("latin-1")


class _Reader:
    """Follows names to the files that they mean at the time."""

    def __init__(self, root: Path, before: State, earlier: Sequence[Operation]) -> None:
        self.asked: list[Operation] = []
        self.disk = Disk(before)
        self._root = f"{root}/"
        self._names = dict(self.disk.names)
        self._positions: dict[int, int | None] = {}
        """Where the next write goes in a file; None: at its end."""
        self._sizes = {self._find(path): len(content) for path, content in before.tree.items() if content is not None}
        self._next = max(self._names.values(), default=ROOT)
        for operation in earlier:
            self._take(operation)

    def follow(self, call: str, arguments: list[str], result: int) -> None:
        for operation in self._operations(call, arguments, result):
            self._take(operation)

    def _take(self, operation: Operation) -> None:
        self.asked.append(operation)
        self.disk.take(operation)
        match operation:
            case Name(changes):
                for place, what in changes:
                    if what is None:
                        del self._names[place]
                    else:
                        self._names[place] = what
                        self._next = max(self._next, what)
            case Write(file, at, data):
                self._sizes[file] = max(self._sizes.get(file, 0), at + len(data))
            case Truncate(file, size):
                self._sizes[file] = size
            case Mode() | Sync() | Say():
                pass

    def _operations(self, call: str, arguments: list[str], result: int) -> Iterator[Operation]:  # noqa: C901
        match call, arguments:
            case "openat", [folder, path, flags, *_] if not {"O_WRONLY", "O_RDWR"}.isdisjoint(flags.split("|")):
                yield from self._open(_under(folder, path), flags.split("|"))
            case (("write" | "pwrite64"), [file, data, count, *at]):
                assert len(data) >= result, count
                if file.startswith("pipe:"):
                    yield Say(data[:result].encode("latin-1"))
                else:
                    yield from self._write(file, data[:result].encode("latin-1"), int(at[0]) if at else None)
            case "sendfile" | "copy_file_range", [first, *rest]:
                target, source = (first, rest[0]) if call == "sendfile" else (rest[1], first)
                if result and self._is_ours(target):
                    content = self.disk.now().tree[source.removeprefix(self._root)]
                    assert content is not None
                    begin = self._positions[self._find_full(target)] or 0
                    yield from self._write(target, content[begin : begin + result], None)
            case (("ftruncate" | "truncate"), [path, size]) if self._is_ours(path):
                yield Truncate(self._find_full(path), int(size))
            case (("fsync" | "fdatasync"), [path]) if self._is_ours(path):
                yield Sync(self._find_full(path))
            case (("sync" | "syncfs"), _):
                yield Sync(None)
            case (("rename" | "renameat" | "renameat2" | "link" | "linkat"), _):
                yield from self._move(*self._two(call, arguments), keep=call.startswith("link"))
            case (("unlink" | "rmdir"), [path]):
                yield from self._remove(path)
            case "unlinkat", [folder, path, *_]:
                yield from self._remove(_under(folder, path))
            case ("mkdir", [path, *_]):
                yield from self._make(path)
            case "mkdirat", [folder, path, *_]:
                yield from self._make(_under(folder, path))
            case (("chmod" | "fchmod"), [path, mode]) if self._is_ours(path):
                yield Mode(self._find_full(path), int(mode, 8))
            case "fchmodat", [folder, path, mode, *_] if self._is_ours(_under(folder, path)):
                yield Mode(self._find_full(_under(folder, path)), int(mode, 8))

    def _open(self, path: str, flags: Sequence[str]) -> Iterator[Operation]:
        if not self._is_ours(path):
            return
        place = self._place(path)
        if place not in self._names:
            yield Name(((place, self._next + 1),))
        file = self._names[place]
        self._positions[file] = None if "O_APPEND" in flags else 0
        if "O_TRUNC" in flags and self._sizes.get(file):
            yield Truncate(file, 0)

    def _write(self, path: str, data: bytes, at: int | None) -> Iterator[Operation]:
        if not data or not self._is_ours(path):
            return
        file = self._find_full(path)
        position = self._positions[file]
        begin = at if at is not None else self._sizes.get(file, 0) if position is None else position
        if at is None and position is not None:
            self._positions[file] = begin + len(data)
        yield Write(file, begin, data)

    def _move(self, old: str, new: str, *, keep: bool) -> Iterator[Operation]:
        if self._is_ours(old) or self._is_ours(new):
            what = self._names[self._place(old)]
            gone = () if keep else ((self._place(old), None),)
            yield Name((*gone, (self._place(new), what)))

    def _remove(self, path: str) -> Iterator[Operation]:
        if self._is_ours(path):
            yield Name(((self._place(path), None),))

    def _make(self, path: str) -> Iterator[Operation]:
        if self._is_ours(path):
            yield Name(((self._place(path), self._next + 1),), folder=True)

    def _two(self, call: str, arguments: list[str]) -> tuple[str, str]:
        if call in {"rename", "link"}:
            return arguments[0], arguments[1]
        return _under(arguments[0], arguments[1]), _under(arguments[2], arguments[3])

    def _is_ours(self, path: str) -> bool:
        return f"{self._full(path)}/".startswith(self._root)

    def _full(self, path: str) -> str:
        """Programs are started in the folder, and stay there."""
        return os.path.normpath(f"{self._root}{path}" if not path.startswith("/") else path)

    def _place(self, path: str) -> Place:
        folder, _, name = self._full(path).rpartition("/")
        return self._find_full(folder), name

    def _find_full(self, path: str) -> int:
        assert self._is_ours(path), path
        return self._find(f"{self._full(path)}/".removeprefix(self._root).rstrip("/"))

    def _find(self, path: str) -> int:
        number = ROOT
        for name in filter(None, path.split("/")):
            number = self._names[number, name]
        return number


def _under(folder: str, path: str) -> str:
    return path if path.startswith("/") else f"{folder}/{path}"
