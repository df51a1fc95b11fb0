"""What acts does what it was asked to, and nothing else."""

import shlex
from pathlib import Path

from tests.cli.shell import GOOD, dr, flags_off, types, write


def test_a_rollback_with_an_empty_reason_rolls_back_and_never_goes_on(folder: Path) -> None:
    write(folder, {"good.yaml": GOOD + "  - {id: sure, kind: operator.confirm, with: {question: go on?}}\n"})
    assert dr(folder, "run", "good.yaml", "--env", "shop", "--yes").status == 5
    assert flags_off(folder) == {"search"}
    assert dr(folder, "rollback", "latest", "--reason", "").status == 4
    assert flags_off(folder) == set()
    assert "step-undone" in types(folder)


TWO_QUESTIONS = GOOD + "".join(
    f"  - {{id: {name}, kind: operator.confirm, with: {{question: go on?}}}}\n" for name in ("first", "second")
)


def test_an_answer_that_comes_after_somebody_elses_is_not_taken_for_the_next_question(folder: Path) -> None:
    write(folder, {"two.yaml": TWO_QUESTIONS})
    asked = dr(folder, "run", "two.yaml", "--env", "shop", "--yes")
    told = asked.err.splitlines()[-1].removeprefix("next:   ").partition("   (")[0]
    assert dr(folder, "answer", "latest", "yes").status == 5
    before = types(folder)
    late = dr(folder, *shlex.split(told.replace("ANSWER", "yes"))[1:])
    assert late.status == 2
    assert "does not ask about first; it asks: go on?" in late.err
    assert types(folder) == before
    second = late.err.splitlines()[-1].removeprefix("next:   ").partition("   (")[0]
    assert dr(folder, *shlex.split(second.replace("ANSWER", "yes"))[1:]).status == 0
