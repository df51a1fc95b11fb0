"""Runs on a disk that is full; started by `test_journal.py` with a tiny disk of its own."""

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from dr.core import state as s
from dr.errors import JournalUnwritable
from tests.simulated.local import LocalSimulation
from tests.simulated.plans import plan, step

PLAN = plan(*(step(name) for name in "abcdefghijkl"))
WELL = s.Ended("completed", "well")


def fill(disk: Path, leave: int) -> Path:
    """Take all room but `leave` bytes."""
    stat = os.statvfs(disk)
    path = disk / "filler"
    path.write_bytes(b"x" * (stat.f_bavail * stat.f_frsize - leave))
    return path


def refuse_to_create(disk: Path) -> None:
    """A run cannot be created on a full disk, and nothing is touched."""
    filler = fill(disk, 0)
    simulation = LocalSimulation(PLAN, disk)
    with pytest.raises(JournalUnwritable, match="No space left") as refused:
        simulation.start()
    assert refused.value.hint.endswith("dr run")
    assert not simulation.site.calls
    assert not list(disk.glob("runs/*")), "what a refused run leaves behind would be taken for a run"
    filler.unlink()


def run_on(disk: Path, room: int) -> tuple[bool, bool]:
    """A run that finds `room` bytes left, and goes on when there are more; was it stopped, did it leave a torn line?"""
    simulation = LocalSimulation(PLAN, disk)
    engine = simulation.start()
    filler = fill(disk, room)
    try:
        assert engine.run() == WELL
    except JournalUnwritable as full:
        hint = full.hint
    else:
        return False, False
    finally:
        simulation.crash()
        filler.unlink()
    assert hint.endswith(f"dr resume {simulation.run_name}")
    assert not isinstance(simulation.fold(), s.Ended)
    _, torn = simulation.stored().verify()
    assert simulation.resume().run() == WELL
    simulation.crash()
    simulation.stored().verify()
    return True, torn is not None


def main(disk: Path) -> None:
    refuse_to_create(disk)
    done: Counter[str] = Counter()
    stopped, room = True, 0
    while stopped:
        stopped, torn = run_on(disk, room)
        done["stopped"] += stopped
        done["torn"] += torn
        room += 1024
        shutil.rmtree(disk / "runs")
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
