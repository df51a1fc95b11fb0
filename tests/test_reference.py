"""What people and editors are told can be written is what can be written."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.bind import bind
from dr.errors import DrError
from dr.load import Document
from dr.reference import kind_lines, runbook_schema
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES
from tests import json_schema
from tests.cli.shell import ROOT, dr

SCHEMA = runbook_schema()
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.yaml"))
STEPS = """\
name: quiet
title: Quiet
parameters:
  hold: {type: duration, default: 1s}
  probes: {type: integer, default: 3}
  sure: {type: boolean, default: true}
objectives: {rto: 5m}
steady_state:
  hold: "${hold}"
  checks: [{probe: http, target: shop, probes: "${probes}", status: {one_of: [200, 204]}}]
steps:
  - {id: a, kind: note, with: {text: hello}, timeout: 30s, confirm: "${sure}"}
  - parallel:
      - {id: b, kind: feature.disable, with: {store: flags, flag: search}, retry: {attempts: 2, wait: "${hold}"}}
      - id: c
        kind: health.verify
        with: {checks: [{probe: sql, target: db, query: "select 1", value: {range: [0, 5]}}]}
  - {id: d, kind: reads.shift, with: {router: reads, stages: [50, 100]}, ungraceful: skip}
"""


def underlined(text: str) -> list[str]:
    """What an editor with the schema underlines."""
    return list(json_schema.errors(Document("quiet.yaml", text).value, SCHEMA, SCHEMA))


def refused(text: str) -> bool:
    """Whether `dr check` refuses it."""
    try:
        bind(Document("quiet.yaml", text), None, {}, samples=True)
    except DrError:
        return True
    return False


def test_a_runbook_that_checks_is_not_underlined() -> None:
    assert not refused(STEPS)
    assert underlined(STEPS) == []


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.name)
def test_the_runbooks_of_the_project_are_not_underlined(path: Path) -> None:
    assert underlined(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("name: quiet", "name: Quiet!"),
        ("title:", "titel:"),
        ("kind: note", "kind: noot"),
        ("id: a", "id: A b"),
        ("{text: hello}", "{txt: hello}"),
        ("{text: hello}", "{text: [hello]}"),
        ("timeout: 30s", "timeout: 30"),
        ("timeout: 30s", "timeout: 30 seconds"),
        ("attempts: 2", "attempts: 0"),
        ("rto: 5m", "rto: soon"),
        ("probe: http", "probe: htp"),
        ("probe: sql", "probe: http"),
        ("[50, 100]", "[50, 101]"),
        ("ungraceful: skip", "ungraceful: pass"),
        ("parallel:", "paralel:"),
        ("store: flags, ", ""),
        ("range: [0, 5]", "rang: [0, 5]"),
        ("type: integer", "type: int"),
    ],
)
def test_what_the_check_refuses_is_underlined(right: str, wrong: str) -> None:
    text = STEPS.replace(right, wrong, 1)
    assert text != STEPS
    assert refused(text)
    assert underlined(text) != []


def test_every_property_of_every_kind_is_in_the_schema_and_in_the_reference() -> None:
    for kind in CATALOGUE.values():
        properties: dict[str, Any] = SCHEMA["$defs"][kind.__name__]["properties"]
        names = [field.encode_name for field in msgspec.structs.fields(kind)]
        assert sorted(properties) == sorted(names)
        told = "\n".join(kind_lines(kind.kind))
        for name in names:
            assert f"\n  {name}: " in told


def test_a_default_is_told() -> None:
    assert "  within: duration (default 30s)" in kind_lines("health.verify")
    assert SCHEMA["$defs"]["HealthVerify"]["properties"]["within"]["default"] == "30s"


def test_what_the_source_says_of_a_field_is_told_to_editors() -> None:
    within = SCHEMA["$defs"]["HealthVerify"]["properties"]["within"]
    assert within["description"] == "How long it may take until the checks begin to hold."


def test_parts_of_a_kind_are_explained_with_it() -> None:
    told = "\n".join(kind_lines("health.verify"))
    for part in ("{probe: http}: ", "{probe: sql}: ", "{probe: replication}: ", "{latency}: ", "{accepts}: "):
        assert f"\n{part}" in told


def test_a_target_is_named_by_the_types_it_can_have_in_dr_toml() -> None:
    assert "  router: a target of type flagd-reads or pgbouncer-reads (required)" in kind_lines("reads.shift")


def test_every_kind_and_every_target_is_listed_with_the_first_line_it_says_of_itself(tmp_path: Path) -> None:
    seen = dr(tmp_path, "kinds")
    listed = [line.split(maxsplit=1) for line in seen.out.splitlines() if line and not line.endswith(":")]
    known = {**CATALOGUE, **TARGET_TYPES}
    assert [name for name, _ in listed] == list(known)
    assert all((known[name].__doc__ or "").startswith(about) for name, about in listed)


@pytest.mark.parametrize("name", TARGET_TYPES)
def test_every_field_of_every_target_is_in_the_reference(name: str) -> None:
    told = kind_lines(name)
    for field in msgspec.structs.fields(TARGET_TYPES[name]):
        at = next(at for at, line in enumerate(told) if line.startswith(f"  {field.encode_name}: "))
        explained = told[at + 1 : at + 2]
        assert "secret" in told[at] or (explained and explained[0].startswith("      ")), field.name


def test_a_secret_is_said_to_be_a_reference() -> None:
    said = "  password: a reference to a secret, env:NAME, file:PATH, aws-secret:ID or ssm:NAME (default none)"
    assert said in kind_lines("postgresql")


def test_a_mistyped_kind_is_suggested(tmp_path: Path) -> None:
    seen = dr(tmp_path, "kinds", "noot")
    assert seen.status == 2
    assert "there is no kind 'noot' (did you mean 'note'?)" in seen.err


def test_the_schema_is_printed_as_json(tmp_path: Path) -> None:
    assert msgspec.json.decode(dr(tmp_path, "schema").out) == msgspec.json.decode(msgspec.json.encode(SCHEMA))
