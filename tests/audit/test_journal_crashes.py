"""kill -9 at any moment, with the real engine and the real journal on a real disk."""

from pathlib import Path

import pytest

from dr.core import events as e
from dr.core import state as s
from tests.simulated.journal import Crash, Fuse
from tests.simulated.local import LocalSimulation
from tests.simulated.plans import ONCE, plan, step
from tests.simulated.site import Script

STAGES = plan(step("a"), (step("b"), step("c", confirm="Sure?")), step("d", retry=ONCE, on_failure="rollback"))
FAULTS = {"d": Script(apply=["refuses"])}


def new(directory: Path) -> LocalSimulation:
    directory.mkdir(exist_ok=True)
    return LocalSimulation(STAGES, directory, FAULTS)


def undisturbed(directory: Path) -> LocalSimulation:
    simulation = new(directory)
    assert simulation.start().run() == s.Ended("rolled-back", "well")
    simulation.crash()
    return simulation


def go_on(simulation: LocalSimulation) -> None:
    """A new process takes over; a run that never got its first entry was never started."""
    simulation.crash()
    if not simulation.disk.lines:
        assert not simulation.site.calls
        return
    if not isinstance(simulation.fold(), s.Ended):
        simulation.resume().run()
        simulation.crash()
    simulation.site.referee.run_ended()
    head, torn = simulation.stored().verify()
    assert (head.size, torn) == (len(simulation.disk.lines), None)


def test_a_run_killed_at_any_point_goes_on_from_the_disk(place: Path) -> None:
    """Safety rules 1 to 6 and 8."""
    expected = undisturbed(place / "undisturbed")
    for at, point in enumerate(expected.points()):
        simulation = new(place / str(at))
        with pytest.raises(Crash):
            simulation.start(Fuse(at)).run()
        go_on(simulation)
        if simulation.disk.lines:
            assert simulation.outcome() == expected.outcome(), f"killed {point}"


def test_a_run_killed_in_the_middle_of_any_write_goes_on_from_the_disk(place: Path) -> None:
    """Safety rules 1 and 8. What the kill left unfinished is kept, and the run says so."""
    expected = undisturbed(place / "undisturbed")
    appends = expected.points().count("before an append")
    cut_lines = 0
    for append in range(appends):
        for length in (1, 40, 79, 80, 150, 260, 400):
            simulation = new(place / f"{append}-{length}")
            with pytest.raises(Crash):
                simulation.start(cut=(append, length)).run()
            _, torn = simulation.stored().verify()
            go_on(simulation)
            if simulation.disk.lines:
                assert simulation.outcome() == expected.outcome(), f"append {append} cut at {length}"
            if torn and simulation.disk.lines:
                cut_lines += 1
                resumed = simulation.only(e.RunResumed)
                assert (resumed.torn_bytes, resumed.torn_sha256) == (torn.bytes, torn.sha256)
                (kept,) = simulation.stored().directory.glob("torn-*")
                assert kept.stat().st_size == torn.bytes
    assert cut_lines > appends


def test_a_journal_without_its_first_entry_is_a_run_that_was_never_started(place: Path) -> None:
    simulation = new(place)
    with pytest.raises(Crash):
        simulation.start(cut=(0, 50))
    simulation.crash()

    journal, torn = simulation.stored().resume("pid 2 on there")
    journal.close()
    assert torn
    assert (torn.seq, torn.bytes) == (0, 50)
    assert list(simulation.stored().entries()) == []
