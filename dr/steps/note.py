"""`note`: a milestone in the journal."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step

LONGEST = 2000


class Note(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write a milestone into the journal: what was decided, who was told.

    Its own entry is the note: it is in place as soon as the intent is recorded, and a resume does not write it twice.
    """

    kind: ClassVar[str] = "note"

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]

    def summary(self) -> str:
        return f"Note in the journal: {self.text}"

    def observe(self, here: Here) -> Observation:
        return InPlace() if here.attempt else NotInPlace()

    def apply(self, here: Here) -> Evidence:
        return {}
