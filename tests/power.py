"""A disk after a power cut: every state that it may be left in, after what a program has asked of the file system.

The model is that of POSIX as ext4 and xfs keep it, taken at its strictest (fsync(2), rename(2), ext4(5) `data=ordered`;
T. S. Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, whose tool is ALICE). When the power goes

- what a file held when its last `fsync`, `fdatasync` or `syncfs` began is there; the rest of it may be there or not,
  sector by sector (512 bytes) and in any order: each sector is as it stood after any one of the writes since;
- the file's size is any that it has had since, or while it grew the end of any sector in between, whatever has become
  of the data: where those are missing, or are to be cut off, there may be zeros;
- names (create, rename, link, unlink, mkdir) are there once the folder they are in was synced. Each of the others may
  be there or not, in any order, with or without what is in the file. A new file's `fsync` says nothing of its name;
- so is a mode, once the file or folder that has it was synced.

Not reordered: changes of one name among themselves; what is in a folder and the folder's own name (nothing is found in
a folder that is not there). Not torn: a sector; a name; a rename, also from one folder to another (one transaction of
the file system's journal; it is held to be durable when the folder of the new name is). What was never written is not
found: a file system that shows old data of other files (ext4 `data=writeback`) is left out, and so are disks that lie.

What may be left at one moment may also be left later, until something is synced. So it is enough to look right before
each sync, and at the end.
"""

import itertools
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

SECTOR: Final = 512
ROOT: Final = 0
"""The number of the folder that everything is in."""
FEW: Final = 64
"""So many ways to lose something are all tried; of more, the telling ones and some by chance."""

Place = tuple[int, str]
"""A name in a folder of that number."""


class Write(msgspec.Struct, frozen=True):
    file: int
    at: int
    data: bytes


class Truncate(msgspec.Struct, frozen=True):
    file: int
    size: int


class Name(msgspec.Struct, frozen=True):
    """Names that change at once: each is now that file or folder, or gone. The last one's folder makes it durable."""

    changes: tuple[tuple[Place, int | None], ...]
    folder: bool = False
    """A new folder."""


class Mode(msgspec.Struct, frozen=True):
    what: int
    mode: int


class Sync(msgspec.Struct, frozen=True):
    """Of a file or a folder; of all there is, where `what` is None."""

    what: int | None


class Say(msgspec.Struct, frozen=True):
    """The program has told somebody: of this it was sure."""

    text: bytes


Operation = Write | Truncate | Name | Mode | Sync | Say


class State(msgspec.Struct, frozen=True):
    """What is on the disk: a folder (None) or a file at each path, and the modes that were set."""

    tree: Mapping[str, bytes | None]
    modes: Mapping[str, int]

    def put(self, root: Path) -> None:
        """Make `root` hold that and nothing else."""
        for old in root.iterdir():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for path, content in sorted(self.tree.items()):
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content)
        for path, mode in self.modes.items():
            (root / path).chmod(mode)

    @property
    def key(self) -> tuple[object, ...]:
        return tuple(sorted(self.tree.items())), tuple(sorted(self.modes.items()))


def seen(root: Path) -> State:
    """What is there now."""
    paths = sorted(root.rglob("*"))
    tree = {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in paths}
    return State(tree, {})


class Disk:
    """What is certainly there, and what has been asked since."""

    def __init__(self, before: State) -> None:
        self.names: dict[Place, int] = {}
        self.folders = {ROOT}
        self._contents: dict[int, bytes] = {}
        self._modes: dict[int, int] = {}
        self._written: dict[int, list[Write | Truncate]] = {}
        self._named: list[Name] = []
        self._moded: list[Mode] = []
        numbers = {"": ROOT}
        for number, (path, content) in enumerate(sorted(before.tree.items()), ROOT + 1):
            folder, _, name = path.rpartition("/")
            numbers[path] = self.names[numbers[folder], name] = number
            if content is None:
                self.folders.add(number)
            else:
                self._contents[number] = content

    def take(self, asked: Operation) -> None:
        """The program asks for that, and gets it."""
        match asked:
            case Write() | Truncate():
                self._written.setdefault(asked.file, []).append(asked)
            case Name():
                self._named.append(asked)
                if asked.folder:
                    self.folders.update(number for _, number in asked.changes if number is not None)
            case Mode():
                self._moded.append(asked)
            case Sync(what):
                self._sync(what)
            case Say():
                pass

    def _sync(self, what: int | None) -> None:
        for file in list(self._written) if what is None else [what] if what in self._written else []:
            self._contents[file] = self._versions(file)[-1]
            del self._written[file]
        for mode in [mode for mode in self._moded if what in {None, mode.what}]:
            self._modes[mode.what] = mode.mode
            self._moded.remove(mode)
        due = {number for number, name in enumerate(self._named) if what in {None, name.changes[-1][0][0]}}
        due = _with_needed(self._named, due)
        self.names = self._names(due)
        self._named = [name for number, name in enumerate(self._named) if number not in due]

    def now(self) -> State:
        """What every program sees as long as the power is on."""
        everything = frozenset(range(len(self._named)))
        return self._state(everything, {file: self._versions(file)[-1] for file in self._written}, self._moded)

    def states(self) -> Iterator[State]:
        """What may be there if the power goes now."""
        choices = list(_choices(self._named))
        for kept in choices:
            there = set(self._names(kept).values())
            unsure = {file: list(self._ways(file)) for file in self._written if file in there}
            for rest in (0, -1):  # what has become of the other files: the most, or nothing
                others = {file: ways[rest] for file, ways in unsure.items()}
                yield self._state(kept, others, self._moded)
                if len(kept) < len(self._named) and len(choices) > FEW // 8:
                    continue  # where names are missing, too, files that are half there tell nothing new
                for file, ways in unsure.items():
                    for way in ways:
                        yield self._state(kept, {**others, file: way}, self._moded)
            for number in range(len(self._moded)):
                yield self._state(kept, {file: ways[0] for file, ways in unsure.items()}, self._moded[:number])

    def _state(self, kept: Iterable[int], contents: Mapping[int, bytes], modes: Sequence[Mode]) -> State:
        names, tree, set_modes = self._names(kept), {}, {}
        inside: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), number in names.items():
            inside.setdefault(folder, []).append((name, number))
        known = self._modes | {mode.what: mode.mode for mode in modes}

        def walk(folder: int, path: str) -> None:
            for name, number in inside.get(folder, []):
                here = path + name
                tree[here] = None if number in self.folders else contents.get(number, self._contents.get(number, b""))
                if number in known:
                    set_modes[here] = known[number]
                walk(number, f"{here}/")

        walk(ROOT, "")
        return State(tree, set_modes)

    def _names(self, kept: Iterable[int]) -> dict[Place, int]:
        names = dict(self.names)
        for number in sorted(kept):
            for place, what in self._named[number].changes:
                if what is None:
                    names.pop(place, None)
                else:
                    names[place] = what
        return names

    def _versions(self, file: int) -> list[bytes]:
        """What was in the file when it was synced, and after each change since."""
        versions = [self._contents.get(file, b"")]
        for change in self._written.get(file, ()):
            last = versions[-1]
            if isinstance(change, Truncate):
                versions.append(last[: change.size].ljust(change.size, b"\0"))
            else:
                begin = last[: change.at].ljust(change.at, b"\0")
                versions.append(begin + change.data + last[change.at + len(change.data) :])
        return versions

    def _ways(self, file: int) -> Iterator[bytes]:
        """What may be in the file; the first is all that was written, the last nothing of it."""
        versions = self._versions(file)
        yield versions[-1]
        for size in _sizes([len(version) for version in versions]):
            yield from _mixtures(versions, size)
        yield versions[0]


def _sizes(had: Sequence[int]) -> list[int]:
    """It had these sizes, one after the other; while it grew also those in between."""
    grown = [range(old // SECTOR * SECTOR + SECTOR, new, SECTOR) for old, new in itertools.pairwise(had)]
    ends = [end for sizes in grown for end in (sizes if len(sizes) <= FEW else [*sizes[:4], *sizes[-4:]])]
    return sorted({*had, *ends})


def _mixtures(versions: Sequence[bytes], size: int) -> Iterator[bytes]:
    """Each sector of a file of that size as any of the versions has it."""
    options: list[list[bytes]] = []
    for at in range(0, size, SECTOR):
        held = [version[at : at + SECTOR].ljust(SECTOR, b"\0") for version in versions]
        options.append(list(dict.fromkeys(reversed(held))))  # the newest first
    for choice in _telling([len(ways) for ways in options]):
        yield b"".join(ways[which] for ways, which in zip(options, choice, strict=True))[:size]


def _telling(ways: Sequence[int]) -> Iterable[tuple[int, ...]]:
    """For each place one of its so many ways, of which the first is the newest: all, or some of many."""
    several = [place for place, count in enumerate(ways) if count > 1]
    total = 1
    for place in several:
        total *= ways[place]
    if total <= FEW:
        return itertools.product(*map(range, ways))
    chosen: dict[tuple[int, ...], None] = {}
    for place in several if len(several) <= FEW // 4 else [*several[:4], *several[-4:]]:
        for lost in ({place}, set(several) - {place}, set(range(place, len(ways))), set(range(place))):
            chosen[tuple(count - 1 if at in lost else 0 for at, count in enumerate(ways))] = None
    chance = random.Random(total)
    for _ in range(FEW // 2):
        chosen[tuple(map(chance.randrange, ways))] = None
    return chosen


def _choices(named: Sequence[Name]) -> Iterator[frozenset[int]]:
    """Which changes of names may be there without the others: all such choices, or the telling ones of many."""
    everything = frozenset(range(len(named)))
    chosen: dict[frozenset[int], None] = {everything: None}
    if len(named) <= FEW.bit_length() - 1:
        subsets: Iterable[Iterable[int]] = itertools.chain.from_iterable(
            itertools.combinations(everything, size) for size in range(len(named) + 1)
        )
    else:
        lost = ({number for number in everything if number >= at} for at in everything)
        subsets = itertools.chain(({at} for at in everything), (everything - gone for gone in lost))
    for subset in subsets:
        chosen[frozenset(_with_needed(named, set(subset)))] = None
    for at in everything if len(named) >= FEW.bit_length() else ():
        chosen[frozenset(other for other in everything if at not in _with_needed(named, {other}))] = None
    yield from chosen


def _with_needed(named: Sequence[Name], chosen: set[int]) -> set[int]:
    """With those that must have been there before: earlier changes of the same names."""
    needed = set(chosen)
    for later in range(len(named) - 1, -1, -1):
        if later in needed:
            places = {place for place, _ in named[later].changes}
            needed.update(
                earlier for earlier in range(later) if places & {place for place, _ in named[earlier].changes}
            )
    return needed


class Cut(msgspec.Struct, frozen=True):
    """The power goes after so many operations, and leaves that."""

    after: int
    state: State


def cuts(before: State, asked: Sequence[Operation]) -> Iterator[Cut]:
    """Every cut that can leave something new."""
    disk = Disk(before)
    for number, operation in enumerate([*asked, Sync(None)]):
        if isinstance(operation, Sync):
            found: set[object] = set()
            for state in disk.states():
                if state.key not in found:
                    found.add(state.key)
                    yield Cut(number, state)
        disk.take(operation)


def memory() -> Path | None:
    """Where states are best made: they are thousands of files, and nothing is asked of their disk."""
    return Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
