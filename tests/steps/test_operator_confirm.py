import msgspec
import pytest

from dr.core.step import InPlace
from dr.steps.operator_confirm import OperatorConfirm
from tests.here import World

QUESTION = "Has the vendor confirmed the fix?"


def test_the_question_is_asked_before_the_step_and_nothing_is_applied() -> None:
    step = OperatorConfirm(question=QUESTION)
    assert (step.asks, step.acts, step.targets()) == (True, False, ())
    assert step.summary() == QUESTION
    with World({}).look() as here:
        assert step.observe(here) == InPlace()


@pytest.mark.parametrize("question", ["", "x" * 2001])
def test_an_empty_or_endless_question_is_refused(question: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"question": question}, OperatorConfirm)
