"""From a document to a plan: what a plan is made of, and every way in which a runbook can be wrong."""

import contextlib
import copy
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dr.bind import bind
from dr.core.duration import Duration, decode_hook
from dr.core.plan import Plan, decode_plan, digest, encode_plan
from dr.core.runbook import Mode
from dr.environment import Environment
from dr.errors import DrError, RunbookWrong
from dr.load import Document
from dr.steps import CATALOGUE
from dr.targets.flagd import FlagdFile, FlagdReads
from dr.targets.http_endpoint import Http
from dr.targets.postgresql import Postgresql

SHOP = Environment(
    "shop",
    {
        "flags": FlagdFile(path="/shop/flags.json"),
        "primary": Postgresql(dsn="host=127.0.0.1"),
        "standby": Postgresql(dsn="env:STANDBY_DSN"),
        "reads": FlagdReads(
            path="/shop/flags.json", flag="reads", primary="primary", standby="standby", application="shop"
        ),
        "website": Http(url="http://127.0.0.1:8000"),
    },
)
TEXT = """\
name: overload
title: The database floods
description: what it is for
owner: ada
objectives: {rto: 5m, rpo: 0s}
parameters:
  feature: {default: recommendations}
  age: {type: duration, default: 2s}
  share: {type: integer, default: 50, choices: [25, 50, 100]}
  sure: {type: boolean, default: true}
  ratio: {type: number, default: 0.5}
steady_state:
  checks:
    - {probe: http, target: website, path: /, status: 200}
  within: 20s
  hold: 5s
steps:
  - id: off
    kind: feature.disable
    title: Switch it off
    with: {store: flags, flag: "${feature}"}
  - id: end
    kind: queries.terminate
    with: {database: primary, feature: "${feature}", older_than: "${age}"}
    on_failure: rollback
    retry: {attempts: 5, strategy: fixed, wait: 1s}
    ungraceful: {older_than: 0s}
  - parallel:
      - id: shift
        kind: reads.shift
        with: {router: reads, to: standby, stages: [25, "${share}"], settle: 1s}
        ungraceful: skip
      - id: tell
        kind: note
        with: {text: "costs $${share}: ${share}% for ${feature}"}
        confirm: true
"""


def plan_of(text: str = TEXT, mode: Mode = "graceful", given_as: Mapping[str, str] | None = None) -> Plan:
    return bind(Document("r.yaml", text), SHOP, given_as or {}, mode)


def wrong(text: str, mode: Mode = "graceful") -> list[str]:
    """What is told of a wrong runbook, without the name of the file."""
    with pytest.raises(RunbookWrong) as refused:
        plan_of(text, mode)
    assert refused.value.stands == "nothing was touched"
    return [line.removeprefix("r.yaml:") for line in refused.value.what.split("\n")]


def changed(before: str, after: str) -> str:
    assert before in TEXT
    return TEXT.replace(before, after)


# What a plan is made of


def test_a_plan_is_complete_in_itself() -> None:
    """A resume elsewhere needs neither the runbook nor `dr.toml`."""
    plan = plan_of()
    assert [[step.id for step in stage] for stage in plan.stages] == [["off"], ["end"], ["shift", "tell"]]
    assert (plan.runbook, plan.environment, plan.mode, plan.owner) == ("overload", "shop", "graceful", "ada")
    assert set(plan.targets) == {"flags", "primary", "standby", "reads", "website"}
    assert plan.targets["standby"] == {"type": "postgresql", "dsn": "env:STANDBY_DSN", "password": None}
    off, end, shift, tell = plan.steps()
    assert (off.title, off.reversal, off.observable, off.targets) == ("Switch it off", "undo", True, ("flags",))
    assert (end.on_failure, end.retry.attempts, end.retry.wait) == ("rollback", 5, Duration(1))
    assert shift.targets == ("reads", "primary", "standby")
    assert tell.confirm == f"Go on with tell? {tell.summary}"
    assert all(step.summary for step in plan.steps())


def test_only_the_targets_that_are_used_are_in_the_plan() -> None:
    lean = TEXT[: TEXT.index("steady_state")] + TEXT[TEXT.index("steps") : TEXT.index("  - id: end")]
    assert set(plan_of(lean).targets) == {"flags"}


def test_a_plan_that_was_stored_is_the_plan_that_was_bound() -> None:
    """Safety rule 11."""
    plan = plan_of()
    raw = encode_plan(plan)
    assert encode_plan(decode_plan(raw)) == raw
    assert digest(encode_plan(plan_of())) == digest(raw)
    assert digest(encode_plan(plan_of(given_as={"share": "100"}))) != digest(raw)
    for before, after in zip(plan.steps(), decode_plan(raw).steps(), strict=True):
        kind = CATALOGUE[before.kind]
        restored = msgspec.convert(after.params, kind, dec_hook=decode_hook)
        assert restored == msgspec.convert(before.params, kind, dec_hook=decode_hook)


def test_a_secret_is_in_the_plan_only_as_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safety rule 13."""
    monkeypatch.setenv("STANDBY_DSN", "postgresql://u:tr0ub4dor@127.0.0.1")
    assert b"tr0ub4dor" not in encode_plan(plan_of())


def test_in_an_ungraceful_run_steps_are_skipped_or_take_other_parameters() -> None:
    _, end, shift, tell = plan_of(mode="ungraceful").steps()
    assert end.params["older_than"] == "0s"
    assert shift.skip == "skipped in an ungraceful run"
    assert (tell.skip, plan_of().steps()[2].skip) == ("", "")


def test_a_step_that_takes_longer_than_the_default_gets_the_time_it_takes() -> None:
    plan = plan_of(changed("settle: 1s", "settle: 90s"))
    assert plan.steps()[2].timeout > 2 * 90


def test_a_runbook_can_be_checked_without_its_targets_and_parameters() -> None:
    document = Document("r.yaml", changed("{default: recommendations}", "{type: string}"))
    assert bind(document, None, {}, samples=True).parameters["feature"] == "sample"


# Parameters


def test_a_parameter_that_stands_alone_keeps_its_type_and_in_a_text_it_is_text() -> None:
    plan = plan_of(given_as={"share": "100"})
    assert plan.steps()[2].params["stages"] == (25, 100)
    assert plan.steps()[3].params["text"] == "costs ${share}: 100% for recommendations"


@pytest.mark.parametrize(
    "value",
    ["${share}", "$${share}", "{a: b}", "'; drop table users; --", "a\nkind: note", "*x", "!!int 7", "&a", "# no"],
)
def test_the_value_of_a_parameter_is_never_read_as_anything_but_text(value: str) -> None:
    """Not as YAML, not as another reference, not as SQL."""
    plan = plan_of(given_as={"feature": value})
    assert plan.steps()[0].params["flag"] == value
    assert plan.steps()[1].params["feature"] == value
    assert len(plan.steps()) == 4


@given(
    st.dictionaries(
        st.sampled_from(["feature", "age", "share", "sure", "ratio"]), st.text() | st.from_regex(r"[-+.0-9einfa]+")
    )
)
@example({"share": "9" * 5000})
@example({"ratio": "9" * 400})
@example({"feature": "\ud800"})
def test_whatever_is_given_as_a_parameter_it_is_taken_or_refused_in_words(given_as: dict[str, str]) -> None:
    with contextlib.suppress(DrError):
        decode_plan(encode_plan(plan_of(given_as=given_as)))


# What is wrong


@pytest.mark.parametrize(
    "before, after, told",
    [
        ("store: flags", "store: website", "21:19: the target 'website' is of type http; this takes one of"),
        ("router: reads", "router: flags", "31:24: the target 'flags' is of type flagd-file; this takes one of"),
        ("target: website, ", "target: web, ", "14:29: the environment shop has no target 'web' (did you mean"),
        ("id: tell", "id: off", "33:13: the id 'off' is there twice"),
        ("id: tell", "id: steady-state", "33:13: the id 'steady-state' is there twice"),
        ("kind: note", "kind: notes", "34:15: unknown kind 'notes' (did you mean 'note'?)"),
        ("attempts: 5", "attempts: 0", "26:23: expected a whole number >= 1"),
        ("attempts: 5", "atempts: 5", "26:13: unknown field 'atempts' (did you mean 'attempts'?)"),
        ("strategy: fixed", "strategy: linear", "26:36: unknown value 'linear' (known: exponential, fixed)"),
        ("on_failure: rollback", "on_failure: retry", "25:17: unknown value 'retry' (known: continue, pause"),
        ("ungraceful: skip", "ungraceful: skipp", "32:21: unknown value 'skipp' (did you mean 'skip'?)"),
        ("ungraceful: {older_than: 0s}", "ungraceful: {older: 0s}", "27:18: unknown field 'older' (did you mean"),
        ("ungraceful: {older_than: 0s}", "ungraceful: {older_than: 0}", "27:30: 0 is not a duration"),
        ("default: 50, choices", "default: 30, choices", "9:35: 30 is none of the choices 25, 50, 100"),
        ("{type: boolean, default: true}", "{type: boolean, default: 1}", "10:34: 1 is not a value of type boolean"),
        ("{default: recommendations}", "7", "7:12: expected a mapping, got a whole number"),
        ("type: number", "type: decimal", "11:17: unknown value 'decimal' (known: boolean, duration, integer"),
        ("rto: 5m", "rto: five", "5:19: 'five' is not a duration"),
        ("rto: 5m", "rtoo: 5m", "5:14: unknown field 'rtoo' (did you mean 'rto'?)"),
        ("  hold: 5s", "  hold: 5", "16:9: 5 is not a duration"),
        ("probe: http", "probe: htpp", "14:15: unknown probe 'htpp' (did you mean 'http'?)"),
        ("probe: http, ", "", "14:7: the field 'probe' is missing (known: http, replication, sql)"),
        ("stages: [25,", "stages: [75,", "31:52: stages: the percentages must rise from stage to stage"),
        ("settle: 1s", "settle: 1ms, errors: {}", "31:91: the field 'target' is missing"),
        ("    confirm: true", "    confirm: maybe", "36:18: expected true or false, got text"),
        ("  - parallel:", "  - id: x\n    parallel:", "28:5: unknown field 'id'"),
        ("name: overload", "name: Over Load", "1:7: a name is made of lower-case letters, digits and hyphens"),
        ("  ratio:", "  Ratio:", "11:3: 'Ratio': a name is made of lower-case letters"),
        ("path: /,", 'path: "${pth}",', "14:44: unknown parameter ${pth}"),
        ('"${feature}"}\n  - id: end', '"${}"}\n  - id: end', "21:32: unknown parameter ${}"),
    ],
)  # fmt: skip
def test_each_error_is_named_where_it_stands(before: str, after: str, told: str) -> None:
    (line, *more) = wrong(changed(before, after))
    assert line.startswith(told)
    assert not more


def test_a_target_that_is_not_there_is_named_at_its_own_field_and_not_at_one_of_the_same_text() -> None:
    [told] = wrong(changed('{store: flags, flag: "${feature}"}', "{flag: web, store: web}"))
    assert told.startswith("21:30: the environment shop has no target 'web'")


def test_a_timeout_that_is_shorter_than_the_step_takes_is_named() -> None:
    text = changed("        ungraceful: skip", "        timeout: 3s")
    assert wrong(text) == ["32:18: 3s is too short: one look of this step takes up to 12s by design"]


def test_all_errors_are_named_at_once_in_the_order_of_the_file() -> None:
    text = (
        TEXT.replace("owner: ada", "ower: ada")
        .replace("rto: 5m", "rto: five")
        .replace("kind: feature.disable", "kind: feature.disabel")
        .replace("database: primary", "database: primry")
    )
    assert [line.split(" ")[0] for line in wrong(text)] == ["4:1:", "5:19:", "19:11:", "24:22:"]


def test_no_more_errors_are_named_than_anyone_reads() -> None:
    """Safety rule 15."""
    many = TEXT + "".join(f"  - {{id: n{number}, kind: nothing}}\n" for number in range(50))
    lines = wrong(many)
    assert len(lines) == 21
    assert lines[-1] == "and 30 more"


def test_a_step_that_is_wrong_only_in_an_ungraceful_run_is_found_in_a_graceful_one() -> None:
    assert wrong(changed("{older_than: 0s}", "{feature: ''}"))


# Whatever is written


WORDS = [
    "note",
    "health.verify",
    "queries.terminate",
    "flags",
    "primary",
    "website",
    "skip",
    "5s",
    "${feature}",
    "${",
    "off",
    "http",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(-1, 1e300)
    | st.sampled_from(WORDS)
    | st.text("a:$\u20ac{}/ ", max_size=6)
)
KEYS = """name title steps parameters steady_state objectives id kind with retry timeout ungraceful parallel confirm
    store flag checks probe target status type default choices text wait"""
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4),
    max_leaves=8,
)
SPOTS = """name steps steps.0 steps.0.with steps.0.with.flag steps.0.id steps.0.kind steps.0.timeout steps.1.ungraceful
    steps.1.retry steps.2.parallel steps.2.parallel.0 steps.2.parallel.0.with.stages steps.2.parallel.1.with parameters
    parameters.share parameters.share.default parameters.share.choices steady_state steady_state.checks
    steady_state.checks.0 steady_state.checks.0.status objectives"""
SOUND: Any = Document("r.yaml", TEXT).value


def put(value: Any, spot: str, new: Any) -> Any:
    """The document with another value at a spot, or unchanged where there is no such spot any more."""
    made = copy.deepcopy(value)
    *way, last = [int(part) if part.isdigit() else part for part in spot.split(".")]
    inside = made
    try:
        for part in way:
            inside = inside[part]
        inside[last] = new
    except (LookupError, TypeError):
        return value
    return made


@given(
    st.lists(st.tuples(st.sampled_from(SPOTS.split()), VALUES), min_size=1, max_size=3),
    st.sampled_from(["graceful", "ungraceful"]),
    st.booleans(),
)
def test_whatever_is_written_it_becomes_a_plan_that_can_be_stored_or_is_refused_in_words(
    changes: list[tuple[str, Any]], mode: Mode, alone: bool
) -> None:
    value = SOUND
    for spot, new in changes:
        value = put(value, spot, new)
    with contextlib.suppress(DrError):
        document = Document("r.yaml", json.dumps(value, ensure_ascii=False))
        plan = bind(document, None if alone else SHOP, {}, mode, samples=True)
        raw = encode_plan(plan)
        assert encode_plan(decode_plan(raw)) == raw
        for step in decode_plan(raw).steps():
            msgspec.convert(step.params, CATALOGUE[step.kind], dec_hook=decode_hook)
