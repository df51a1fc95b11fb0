"""How `dr` is asked to execute, resume and verify, and where its journal then lies."""

from pathlib import Path

from benchmarks.inputs import ENVIRONMENT


def run_arguments(runbook: Path, state: Path) -> list[str]:
    """Execute without asking, its runs below `state`."""
    return ["run", str(runbook), "--env", ENVIRONMENT, "--yes", "--journal", str(state)]


def resume_arguments(state: Path, name: str) -> list[str]:
    return ["resume", name, "--journal", str(state)]


def verify_arguments(state: Path, name: str) -> list[str]:
    return ["audit", "verify", name, "--journal", str(state)]


def journal_of(state: Path) -> Path:
    """The journal of the only run below `state`; its folder bears the run's name."""
    (journal,) = (state / "runs").glob("*/journal.jsonl")
    return journal
