"""`notify`: people are told."""

from typing import Annotated, ClassVar

import msgspec

from dr.core.step import Evidence, Here, InPlace, NotInPlace, Observation, Step, target
from dr.targets.protocols import Notifier


class Notify(Step, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell people: a topic of Amazon SNS, a chat, mail, a pager.

    It is done when the service has taken the message and given a receipt. Only the process that got the receipt knows
    it: after a crash just then the message is sent again, for twice is better than not at all.
    """

    kind: ClassVar[str] = "notify"

    via: Annotated[str, target(Notifier)]
    """Target that takes the message."""
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\r\n]+$")]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]

    def summary(self) -> str:
        return f"Tell {self.via}: {self.subject}"

    def observe(self, here: Here) -> Observation:
        receipt = here.reach(Notifier, self.via).told()
        return NotInPlace() if receipt is None else InPlace(receipt)

    def apply(self, here: Here) -> Evidence:
        text = f"{self.text}\n\n-- \nrun {here.run}, step {here.step}"
        return here.reach(Notifier, self.via).tell(self.subject, text)
