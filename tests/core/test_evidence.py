"""What a step saw or said goes into the journal as JSON, within its limit, and is told in words."""

import pytest

from dr.core.duration import Duration
from dr.core.evidence import LARGEST, as_recorded, findings, in_words
from dr.core.step import Evidence


def test_evidence_is_what_a_resumed_run_will_read() -> None:
    assert as_recorded({"hosts": ("web1", "web2"), "waited": Duration(90)}) == {
        "hosts": ["web1", "web2"], "waited": "1m30s",
    }  # fmt: skip


def test_evidence_of_the_largest_size_is_recorded_and_a_byte_more_is_refused() -> None:
    frame = len('{"said":""}')
    assert as_recorded({"said": "x" * (LARGEST - frame)})
    with pytest.raises(ValueError, match=r"too large to be recorded: 65,537 bytes of 65,536"):
        as_recorded({"said": "x" * (LARGEST - frame + 1)})


def test_evidence_that_is_no_json_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="a value of type object is no JSON"):
        as_recorded({"hosts": [{"at": object()}]})


def test_evidence_nested_without_end_is_refused_in_words() -> None:
    value: object = 0
    for _ in range(5_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply to be recorded"):
        as_recorded({"seen": value})


@pytest.mark.parametrize(
    "evidence, told",
    [
        ({"findings": ["status 503", "9 s behind"], "rounds": 3}, "status 503; 9 s behind"),
        ({"findings": "all of it", "rounds": 3}, "findings: all of it, rounds: 3"),
        ({"enabled": True, "variant": "on"}, "enabled: True, variant: on"),
        ({}, "nothing was found"),
    ],
)  # fmt: skip
def test_findings_tell_all_there_is_to_say_and_without_them_the_fields_do(evidence: Evidence, told: str) -> None:
    assert in_words(evidence) == told


def test_evidence_without_findings_is_told_from_evidence_in_which_nothing_was_found() -> None:
    assert findings({"rounds": 3}) is None
    assert findings({"findings": []}) == ""
