"""What was verified of a run's journal, and what no report about it can prove."""

from collections.abc import Iterator, Sequence

import msgspec

from dr.audit.chain import Checkpoint
from dr.audit.stored import Torn
from dr.audit.verdict import Verdict
from dr.core import state as s
from dr.core.plan import Plan
from dr.report.axis import span
from dr.report.exhibit import Exhibits
from dr.report.timeline import Timeline

MOST_NAMES = 5


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What stands after the chain, the checkpoints, the plan and the rules of a run were verified."""

    verdict: Verdict
    torn: Torn | None
    checkpoints: tuple[Checkpoint, ...]
    plan: str
    """SHA-256 of the plan, which the first entry names."""


def verified(proof: Proof) -> Iterator[tuple[str, str]]:
    """What was verified: a name and a sentence for each."""
    yield (
        "chain",
        f"{proof.verdict.head.size:,} entries, each holding the SHA-256 of the one before it, none missing or moved",
    )
    yield "head", proof.verdict.head.hash
    sizes = ", ".join(f"{mark.size:,}" for mark in proof.checkpoints[-5:])
    count = len(proof.checkpoints)
    yield "checkpoints", f"{count} agree with the chain; the last at {sizes} entries" if count else "none was written"
    yield "plan", f"{proof.plan}; the first entry names it, and the plan beside this page has it"
    yield "replay", "every entry can follow the one before it by the rules of a run"
    if proof.torn is not None:
        yield (
            "unfinished",
            f"{proof.torn.bytes} bytes of an entry at the end, as a crash leaves it; nothing was done for it",
        )
    if not proof.verdict.signed:
        yield "signature", "none: the journal is unsigned"
    for line in (*proof.verdict.behind(), *proof.verdict.notes) if proof.verdict.signed else ():
        yield "signature", line


def unproven(plan: Plan, run: Timeline, exhibits: Exhibits, verdict: Verdict) -> Iterator[str]:
    """What this report does not prove."""
    if not verdict.signed:
        yield (
            "Who did it. The journal is unsigned: the chain shows that nothing was changed, added, moved or removed "
            "since the last copy of its head that you trust. Whoever can write to the whole folder could have written "
            "another one. Keep the head printed here somewhere else."
        )
    elif not verdict.judged:
        yield "Who did it. There are signatures, but nobody had said whose count (`--allowed-signers`)."
    yield from (f"That this is whole. {line[:1].upper()}{line[1:]}." for line in verdict.incomplete)
    yield f"When it was. The times are those of the machines it ran on{_set_back(run.measured.set_back)}."
    if plan.objectives.rpo is not None and run.measured.lost_at_most is None:
        rpo = plan.objectives.rpo
        yield f"How much data was lost. The recovery point objective of {rpo} was not measured by this run."
    if run.ruled:
        yield f"What became of {_some(run.ruled)}: it could not be seen, and the operator's word stands in for it."
    unseen = [step.id for step in plan.steps() if not step.observable]
    if unseen:
        yield f"What {_some(unseen)} did: this kind of step cannot be observed."
    skipped = [lane.step for lane in run.lanes if lane.ending == "skipped"]
    if skipped:
        yield f"Anything about {_some(skipped)}: skipped."
    if not isinstance(run.state, s.Ended):
        yield "How it ends. The run had not ended when this was written."
    elif run.state.service == "not-checked":
        yield "That the service is well. It was not observed."
    else:
        yield "That the service stayed well after the last entry, or in ways that the steady state does not look at."
    if exhibits.series or exhibits.comparisons:
        yield "The measured series and comparisons. They were laid beside the journal, which knows nothing of them."


def _set_back(seconds: float) -> str:
    return f"; between two entries the clock went back by {span(seconds)}" if seconds > 0 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
