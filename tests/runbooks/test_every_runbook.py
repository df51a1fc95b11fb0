"""What every runbook of the project keeps, whoever writes the next one."""

from pathlib import Path

import pytest

from tests.cli.shell import ROOT

RUNBOOKS = sorted((ROOT / "runbooks").glob("*.yaml"))


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_it_says_when_to_use_it_when_not_what_it_costs_and_how_to_back_out(runbook: Path) -> None:
    text = runbook.read_text(encoding="utf-8")
    places = [text.index(words) for words in ("When to use it:", "When not:", "What it costs:", "How to back out:")]
    assert places == sorted(places)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_the_readme_names_it(runbook: Path) -> None:
    assert f"(runbooks/{runbook.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
