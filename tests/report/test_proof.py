import msgspec

from dr.audit.chain import Checkpoint, Head
from dr.audit.stored import Torn
from dr.audit.verdict import Signed, Verdict
from dr.core import events as e
from dr.core.duration import Duration
from dr.core.runbook import Objectives
from dr.report.exhibit import NOTHING, Comparison, Exhibits
from dr.report.proof import Proof, unproven, verified
from dr.report.timeline import timeline
from tests.report.recorded import OVERLOAD, RUN, Happened, at, entries, plan, recovered, started, step

UNSIGNED = Verdict(head=Head(15, "ab" * 32))
PROOF = Proof(verdict=UNSIGNED, torn=None, checkpoints=(), plan="cd" * 32)


def test_unsigned_is_said_plainly() -> None:
    assert dict(verified(PROOF))["signature"] == "none: the journal is unsigned"
    run = timeline(OVERLOAD, entries(recovered()))
    assert next(unproven(OVERLOAD, run, NOTHING, UNSIGNED)).startswith("Who did it. The journal is unsigned")


SIGNED = Verdict(
    head=Head(15, "ab" * 32),
    signed=(Signed(size=12, at=at(9), actor="ada@example.org", key="SHA256:abc"),),
    judged=True,
    expected=True,
    incomplete=("entries 12-14: behind no signature, only behind the chain",),
)


def test_who_signed_what_is_told() -> None:
    told = [
        line
        for name, line in verified(Proof(verdict=SIGNED, torn=None, checkpoints=(), plan=""))
        if name == "signature"
    ]
    assert told == [
        f"entries 0-11: signed by ada@example.org at {at(9)} (SHA256:abc)",
        "entries 12-14: behind no signature, only behind the chain",
    ]
    said = list(unproven(OVERLOAD, timeline(OVERLOAD, entries(recovered())), NOTHING, SIGNED))
    assert said[0] == "That this is whole. Entries 12-14: behind no signature, only behind the chain."
    assert not any(line.startswith("Who did it") for line in said)


def test_signatures_that_nobody_judged_prove_nobody() -> None:
    unjudged = msgspec.structs.replace(SIGNED, judged=False, incomplete=())
    said = next(unproven(OVERLOAD, timeline(OVERLOAD, entries(recovered())), NOTHING, unjudged))
    assert said.startswith("Who did it. There are signatures, but nobody had said whose count")


def test_head_and_plan_are_told_whole() -> None:
    told = dict(verified(PROOF))
    assert told["head"] == "ab" * 32
    assert told["plan"].startswith("cd" * 32)
    assert told["chain"].startswith("15 entries")


def test_missing_checkpoints_and_an_unfinished_entry_are_told() -> None:
    torn = Proof(verdict=UNSIGNED, torn=Torn(15, 77, "ef" * 32), checkpoints=(), plan="")
    assert dict(verified(torn))["checkpoints"] == "none was written"
    assert dict(verified(torn))["unfinished"].startswith("77 bytes")
    marks = tuple(Checkpoint(run=RUN, size=size, head="", at=at(0), actor="ada") for size in (4, 15))
    kept = Proof(verdict=UNSIGNED, torn=None, checkpoints=marks, plan="")
    assert dict(verified(kept))["checkpoints"].startswith("2 agree with the chain")
    assert "unfinished" not in dict(verified(kept))


def test_what_nobody_saw_is_named() -> None:
    of = plan(
        step("disable-feature", observable=False),
        *OVERLOAD.stages[1:],
        objectives=Objectives(rpo=Duration(0)),
    )
    happened = recovered()
    run = timeline(of, entries([(0, started(of)), *happened[1:-2]]))
    said = "\n".join(unproven(of, run, Exhibits(comparisons=(Comparison(title="", columns=(), rows=()),)), UNSIGNED))
    assert "recovery point objective of 0s was not measured" in said
    measured = msgspec.structs.replace(run, measured=msgspec.structs.replace(run.measured, lost_at_most=3.2))
    assert "recovery point" not in "\n".join(unproven(of, measured, Exhibits(), UNSIGNED))
    assert "What disable-feature did: this kind of step cannot be observed" in said
    assert "Anything about is-that-enough: skipped" in said
    assert "had not ended" in said
    assert "laid beside the journal" in said


def test_ruling_of_the_operator_is_no_proof() -> None:
    of = plan(step("only"), steady_state=None)
    question = e.Question(about="in-doubt", step="only", text="?", choices=("done",))
    happened: list[Happened] = [
        (0, started(of)),
        (1, e.ApplyStarted(step="only", attempt=1)),
        (2, e.StepUnseen(step="only", attempt=1, why="no answer")),
        (2, e.Paused(question=question)),
        (3, e.OperatorAnswered(choice="done")),
        (3, e.RunEnded(finish="completed", service="not-checked")),
    ]
    said = "\n".join(unproven(of, timeline(of, entries(happened)), NOTHING, UNSIGNED))
    assert "What became of only: it could not be seen, and the operator's word stands in for it." in said
    assert "That the service is well. It was not observed." in said


def test_nothing_is_doubted_that_was_seen() -> None:
    run = timeline(OVERLOAD, entries(recovered()))
    said = "\n".join(unproven(OVERLOAD, run, NOTHING, UNSIGNED))
    assert not any(word in said for word in ("not measured", "cannot be observed", "not ended", "laid beside", "word"))
