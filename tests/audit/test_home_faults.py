"""The engine with its journal at a home that fails at every put, in every way; the referee sees only what is there."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dr.audit.journal import Draft, Journal
from dr.core import state as s
from dr.core.events import CopyLate, Entry, Event
from dr.core.plan import encode_plan
from dr.errors import HomeUnreachable
from tests.audit.homes import DRILL, Machine
from tests.audit.written import ME, RUN
from tests.memory_store import Bucket, Fault
from tests.simulated.journal import Disk
from tests.simulated.plans import ONCE, plan, step
from tests.simulated.process import Simulation
from tests.simulated.site import Script

FAULTS = (Fault.UNREACHABLE, Fault.REFUSED, Fault.LOST, Fault.LOST_ANSWER)
STAGES = plan(step("a"), (step("b"), step("c", confirm="Sure?")), step("d", retry=ONCE, on_failure="rollback"))
PLANNED = encode_plan(STAGES)
REFUSED = {"d": Script(apply=["refuses"])}


class AtHome:
    """A journal of which the referee sees what is at home."""

    def __init__(self, journal: Journal, home: Bucket, disk: Disk) -> None:
        self.run = journal.run
        self._journal = journal
        self._home = home
        self._disk = disk
        self.show()

    def show(self) -> None:
        for line in self._home.lines(RUN)[len(self._disk.lines) :]:
            self._disk.persist(line)

    def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        try:
            return self._journal.append(drafts)
        finally:
            self.show()

    def checkpoint(self, at: str, actor: str) -> None:
        self._journal.checkpoint(at, actor)

    def notices(self) -> Sequence[Event]:
        return self._journal.notices()

    def close(self) -> None:
        self._journal.close()


class HomeSimulation(Simulation):
    """One run whose journal is at home, carried on by one process after the other."""

    def __init__(self, home: Bucket, *machines: Machine) -> None:
        super().__init__(STAGES, REFUSED)
        self.home = home
        self.machines = machines

    def process(self, number: int) -> None:
        """Start the run or go on with it, to its end or until the home fails; then the process is gone."""
        machine = self.machines[number % len(self.machines) if self.home.lines(RUN) else 0]
        book = machine.book()
        begun = self.home.lines(RUN) or machine.stored().exists()
        journal, torn = book.resume(book.find(RUN), ME) if begun else (book.create(RUN, PLANNED, DRILL, ME), None)
        shown = AtHome(journal, self.home, self.disk)
        try:
            if not isinstance(self.fold(), s.Ended):
                self.engine_on(shown, torn).run()
        finally:
            book.leave(journal, ended=isinstance(self.fold(), s.Ended))

    def carry(self) -> int:
        """Process after process until the run has ended; how many that took."""
        for number in range(5):
            try:
                self.process(number)
            except HomeUnreachable:
                continue
            return number + 1
        raise AssertionError("it never ended")


def calls(home: Bucket) -> int:
    return sum(call == "create" for call, _ in home.calls)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> HomeSimulation:
    home = Bucket()
    simulation = HomeSimulation(home, Machine(tmp_path_factory.mktemp("calm"), home))
    assert simulation.carry() == 1
    return simulation


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("machines", [1, 2])
def test_a_home_that_fails_at_any_put_costs_neither_an_entry_nor_a_second_effect(
    fault: Fault, machines: int, undisturbed: HomeSimulation, place: Path
) -> None:
    """Safety rules 1, 2, 7 and 8: on the same machine again, or on another that has nothing but the home."""
    for nth in range(1, calls(undisturbed.home) + 1):
        with Bucket() as home:
            here, there = Machine(place / f"{nth}-here", home), Machine(place / f"{nth}-there", home)
            here.home.on("create", fault, nth=(nth,))
            simulation = HomeSimulation(home, *(here, there)[:machines])
            carried = simulation.carry()
            assert carried <= 2, f"put {nth}"
            assert simulation.outcome() == undisturbed.outcome(), f"put {nth}"
            stored = there.stored() if there.stored().exists() else here.stored()
            assert stored.verify()[0].size == len(home.lines(RUN))
            found = here.book().compare(stored)[0]
            assert found.tampered == (), f"put {nth}"


def test_a_mirror_that_fails_at_any_put_is_an_entry_and_changes_nothing_else(
    undisturbed: HomeSimulation, place: Path
) -> None:
    with Bucket() as home, Bucket() as mirror:
        HomeSimulation(home, Machine(place / "calm", home, mirror)).carry()
        puts = calls(mirror)
    assert puts > 10
    for nth in range(1, puts + 1):
        with Bucket() as home, Bucket() as mirror:
            machine = Machine(place / str(nth), home, mirror)
            mirror.on("create", Fault.REFUSED, nth=(nth,))
            simulation = HomeSimulation(home, machine)
            assert simulation.carry() == 1
            assert simulation.outcome() == undisturbed.outcome()
            assert len(simulation.events(CopyLate)) == (nth < puts - 2), "after the end there are no more entries"
            assert mirror.lines(RUN) == home.lines(RUN), "it has caught up"
