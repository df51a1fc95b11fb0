"""A power cut while dr edits a file or a data directory: what it says is done stays done, and nothing is half done."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.targets.transport.data_directory import FENCE
from tests.cli.shell import environment, write
from tests.power import Cut, Say, State, cuts, memory
from tests.traced import Record, record, strace

pytestmark = strace

FILE = """
import time
from pathlib import Path
from dr.targets.transport.program import Local
from dr.targets.transport.ssh_file import SshFile
from dr.targets.transport.textfile import TextFile

class Over(Local):  # the programs of an SSH connection, on this machine
    def look(self, argv, deadline, *, most=0):
        return super().look(argv, deadline)

path, soon = str(Path("pool.ini").absolute()), time.monotonic() + 60
new = lambda text: text.replace("one", "two")
file = {file}
file.prepare(new)
file.rewrite(new)
print("done", flush=True)
file.close()
"""
FILES = {"here": "TextFile(path, soon)", "over SSH": 'SshFile("pool", path, Over("pool"), soon)'}
OLD = "[databases]\nshop = host=one\n" + "; a remark\n" * 200
NEW = OLD.replace("one", "two")

DIRECTORY = """
import time
from pathlib import Path
from dr.targets.transport.data_directory import Commands, DataDirectory
from dr.targets.transport.program import Local
from dr.targets.transport.fresh_directory import copy
from dr.targets.transport.rewound_directory import rewind

here = Path(".").absolute()
db = DataDirectory("db", Commands(data=f"{here}/data", programs=f"{here}/bin"), Local("db"), time.monotonic() + 60)
def say(what): print(what, flush=True)
"""
PROGRAMS = {
    "pg_ctl": '[ "$1" = status ] && exit 3',
    "pg_controldata": """\
cat <<'.'
Database cluster state:               shut down
Latest checkpoint location:           0/3000028
Latest checkpoint's TimeLineID:       1
Database system identifier:           7
Bytes per WAL segment:                16777216
.""",
    # As the real ones do: they sync what they copy. What pg_rewind writes after that it does not.
    "pg_rewind": """\
for word; do case $word in --target-pgdata=*) data=${word#*=};; esac; done
rm -f "$data/standby.signal"
echo "pg_rewind: need to copy 1 MB" >&2
echo new >"$data/table"; sync "$data/table" "$data"
echo "primary_conninfo = 'host=other'" >>"$data/postgresql.auto.conf"
: >"$data/standby.signal"
""",
    "pg_basebackup": """\
for word; do case $word in --pgdata=*) data=${word#*=};; esac; done
mkdir "$data" && echo new >"$data/table" && echo "primary_conninfo = ''" >"$data/postgresql.auto.conf"
""",
}
FRESH = {"table": b"new\n", "postgresql.auto.conf": b"primary_conninfo = ''\n", "standby.signal": b""}
REWOUND = {"table": b"new\n", "postgresql.auto.conf": b"primary_conninfo = 'host=other'\n", "standby.signal": b""}
DEAD = {"table": b"old\n", "postgresql.auto.conf": b"", "standby.signal": b""}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        place = Path(name)
        write(place, {f"bin/{program}": f"#!/bin/sh\n{text}\n" for program, text in PROGRAMS.items()})
        for program in (place / "bin").iterdir():
            program.chmod(0o755)
        yield place


def done(folder: Path, script: str) -> Record:
    asked = record(folder, [sys.executable, "-c", script], env=environment(folder))
    assert asked.status == 0
    return asked


def each(run: Record) -> Iterator[tuple[State, set[str]]]:
    """What a cut leaves, and what was said to be done before it."""

    def said(cut: Cut) -> set[str]:
        return {
            word for asked in run.asked[: cut.after] if isinstance(asked, Say) for word in asked.text.decode().split()
        }

    found = list(cuts(run.before, run.asked))
    assert len(found) > 10
    return ((cut.state, said(cut)) for cut in found)


def inside(state: State, folder: str) -> dict[str, bytes | None]:
    """What is in it. A fence counts as one whatever its text: that is not synced, and only says that it was proven."""
    held = {path.removeprefix(f"{folder}/"): text for path, text in state.tree.items() if path.startswith(f"{folder}/")}
    return {path: b"" if path == FENCE else text for path, text in held.items()}


@pytest.mark.parametrize("where", FILES)
def test_a_file_is_the_old_or_the_new_one_and_for_good_the_new_one_when_it_is_done(folder: Path, where: str) -> None:
    """The ini of PgBouncer and the flags of flagd are such files."""
    write(folder, {"pool.ini": OLD})
    (folder / "pool.ini").chmod(0o604)
    run = done(folder, FILE.format(file=FILES[where]))
    found = [(state.tree["pool.ini"], state.modes.get("pool.ini", 0o604), said) for state, said in each(run)]
    assert {(content, mode) for content, mode, _ in found} == {(OLD.encode(), 0o604), (NEW.encode(), 0o604)}
    assert all(content == NEW.encode() for content, _, said in found if "done" in said)


def test_fences_and_claims_are_there_when_they_are_said_to_be(folder: Path) -> None:
    """Safety rule 10: whoever starts this server after the power is back gets a standby."""
    write(folder, {"data/table": "old"})
    run = done(
        folder,
        f"{DIRECTORY}db.claim('run:step'); say('claimed'); db.fence(); say('fenced')\n"
        "db.disclaim(); say('disclaimed'); db.unfence(); say('unfenced')\n"
        "db.stop_and_fence(); say('again')\n",
    )
    for state, said in each(run):
        held = inside(state, "data")
        if "claimed" in said and not said & {"fenced", "disclaimed"}:
            assert held["dr.claim"] == b"run:step"
        if "disclaimed" in said:
            assert "dr.claim" not in held
        if ("fenced" in said and "disclaimed" not in said) or "again" in said:
            assert "standby.signal" in held
        if "unfenced" in said and "again" not in said:
            assert held.keys() <= {"table", "standby.signal"}


def test_a_rewound_directory_never_starts_as_a_mixture_and_knows_whom_to_follow(folder: Path) -> None:
    """Safety rule 10: the mode bars its start until the fence and all else is safe."""
    write(folder, {f"data/{name}": text.decode() for name, text in DEAD.items()})
    (folder / "data").chmod(0o700)
    for state, said in each(done(folder, f"{DIRECTORY}rewind(db, 'host=other'); say('rewound')")):
        barred = state.modes.get("data", 0o700) & 0o001
        assert barred or inside(state, "data") in (DEAD, REWOUND)
        assert "rewound" not in said or (not barred and inside(state, "data") == REWOUND)


def test_a_copy_takes_the_place_of_a_directory_whole_and_the_old_one_is_kept(folder: Path) -> None:
    write(folder, {f"data/{name}": text.decode() for name, text in DEAD.items()})
    for state, said in each(done(folder, f"{DIRECTORY}copy(db, 'host=other', 'run'); say('copied')")):
        now, before = inside(state, "data"), inside(state, "data.before-run")
        assert now in (DEAD, FRESH, {})
        assert DEAD in (now, before)
        assert "copied" not in said or (now, before) == (FRESH, DEAD)
