"""What acts does what it was asked to, and nothing else."""

from pathlib import Path

from tests.cli.shell import GOOD, dr, flags_off, types, write


def test_a_rollback_with_an_empty_reason_rolls_back_and_never_goes_on(folder: Path) -> None:
    write(folder, {"good.yaml": GOOD + "  - {id: sure, kind: operator.confirm, with: {question: go on?}}\n"})
    assert dr(folder, "run", "good.yaml", "--env", "shop", "--yes").status == 5
    assert flags_off(folder) == {"search"}
    assert dr(folder, "rollback", "latest", "--reason", "").status == 4
    assert flags_off(folder) == set()
    assert "step-undone" in types(folder)
