"""The plan and its digest (safety rule 11)."""

import hashlib
import json

import msgspec
import pytest

from dr.core.duration import Duration
from dr.core.plan import Plan, PlannedStep, decode_plan, digest, encode_plan
from dr.core.runbook import Objectives, Retry
from tests.simulated.plans import plan, step

FULL = msgspec.structs.replace(
    plan(
        (step("a", params={"z": 1, "b": [True, None, 0.5], "ü": "é\n"}), step("b", confirm="Sure?")),
        step("c", skip="ungraceful"),
    ),
    description="what it is for",
    owner="ada",
    objectives=Objectives(rto=Duration(300)),
    parameters={"zone": "b", "limit": 3, "dry": False, "share": 0.25},
    targets={"site": {"type": "http", "url": "env:URL"}},
)


def test_a_plan_is_read_back_as_it_was_stored() -> None:
    assert decode_plan(encode_plan(FULL)) == FULL


def test_the_stored_plan_is_canonical() -> None:
    """Keys sorted and no white space: the same plan has the same digest, whoever wrote it and in whatever order."""
    raw = encode_plan(FULL)
    assert json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == raw
    turned = msgspec.structs.replace(FULL, parameters=dict(reversed(list(FULL.parameters.items()))))
    assert encode_plan(turned) == raw
    assert encode_plan(decode_plan(raw)) == raw


def test_the_digest_is_the_sha256_of_the_stored_plan() -> None:
    """Safety rule 11."""
    assert digest(encode_plan(FULL)) == hashlib.sha256(encode_plan(FULL)).hexdigest()


CHANGES: dict[str, object] = {
    "runbook": "other", "title": "Other", "environment": "production", "mode": "ungraceful", "description": "",
    "owner": "", "stages": FULL.stages[:1], "objectives": Objectives(), "parameters": {}, "steady_state": None,
    "targets": {},
}  # fmt: skip
STEP_CHANGES: dict[str, object] = {
    "id": "other", "kind": "blind-switch", "summary": "other", "params": {}, "title": "Other", "reversal": "impossible",
    "observable": False, "targets": (), "retry": Retry(attempts=9), "timeout": Duration(9), "on_failure": "rollback",
    "confirm": "Sure?", "skip": "ungraceful",
}  # fmt: skip


@pytest.mark.parametrize("field", Plan.__struct_fields__)
def test_a_change_of_any_field_changes_the_digest(field: str) -> None:
    """Safety rule 11."""
    if field != "format":  # only one value is valid
        changed = msgspec.structs.replace(FULL, **{field: CHANGES[field]})
        assert digest(encode_plan(changed)) != digest(encode_plan(FULL))


@pytest.mark.parametrize("field", PlannedStep.__struct_fields__)
def test_a_change_of_any_field_of_a_step_changes_the_digest(field: str) -> None:
    """Safety rule 11."""
    (first, *others), *rest = FULL.stages
    changed = msgspec.structs.replace(first, **{field: STEP_CHANGES[field]})
    edited = msgspec.structs.replace(FULL, stages=((changed, *others), *rest))
    assert digest(encode_plan(edited)) != digest(encode_plan(FULL))


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"nonsense", b"\xff", encode_plan(FULL).replace(b'"format":1', b'"format":2')]
)
def test_what_is_not_a_plan_of_this_format_is_refused(raw: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_plan(raw)


def test_the_steps_come_in_the_order_of_the_file() -> None:
    assert [item.id for item in FULL.steps()] == ["a", "b", "c"]


def test_the_point_of_no_return_is_the_first_step_that_cannot_be_undone_and_is_not_skipped() -> None:
    """Safety rule 6."""
    assert FULL.point_of_no_return() is None
    passed, first = step("p", reversal="impossible", skip="ungraceful"), step("f", reversal="impossible")
    assert plan(step("a"), passed, first, step("l", reversal="impossible")).point_of_no_return() == first
