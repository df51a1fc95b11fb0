"""`operator.confirm`: a question to a person."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Here, InPlace, Observation, Step

LONGEST = 2000


class OperatorConfirm(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the operator, and go on only after a yes.

    On a terminal the question is asked there; elsewhere the run pauses until somebody says `dr answer RUN yes`. The
    answer, with who gave it, is an entry of its own.
    """

    kind: ClassVar[str] = "operator.confirm"
    acts: ClassVar[bool] = False
    asks: ClassVar[bool] = True

    question: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]

    def summary(self) -> str:
        return self.question

    def observe(self, here: Here) -> Observation:
        """In place by the time it is looked at: the engine begins this step only after the yes is recorded."""
        return InPlace()
