"""Runs in a real journal on a real disk, to attack."""

from pathlib import Path

from dr.audit.book import LocalBook
from dr.audit.journal import JOURNAL, Draft, LocalJournal
from dr.audit.stored import StoredRun
from dr.core import events as e
from dr.core.plan import Plan, digest, encode_plan
from tests.simulated.plans import plan, step
from tests.simulated.process import Simulation

RUN = "20230515T140000Z-simulated-000000"
ME = "pid 1 on here"
NINE = plan(*(step(name) for name in "abcdefghi"))
"""Its run has exactly thirty entries."""


def drafts(any_plan: Plan = NINE) -> list[Draft]:
    """The entries of an undisturbed run."""
    simulation = Simulation(any_plan)
    simulation.run()
    return [Draft(entry.at, entry.actor, entry.event) for entry in simulation.watcher.entries]


def create(directory: Path, run: str = RUN) -> LocalJournal:
    return LocalBook(directory).create(run, encode_plan(NINE), ME)


def write(directory: Path, run: str = RUN) -> StoredRun:
    """A run of thirty entries, some of them written together, with a checkpoint at its end."""
    journal = create(directory, run)
    todo = drafts()
    assert len(todo) == 30
    assert todo[0].event == e.RunStarted(
        plan=digest(encode_plan(NINE)), runbook="simulated", environment="drill", mode="graceful"
    )
    while todo:
        size = 1 + len(todo) % 3
        journal.append(todo[:size])
        del todo[:size]
    journal.checkpoint("2023-05-15T14:00:00.000000Z", "ada")
    journal.close()
    return LocalBook(directory).find(run)


def file_of(run: StoredRun) -> Path:
    return run.directory / JOURNAL
