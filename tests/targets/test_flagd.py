import json
from pathlib import Path

import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from dr.targets.flagd import FlagdFile, FlagdReads
from dr.targets.protocols import Conflict, FlagState, Share, TargetUnreachable
from tests.here import opened

FLAGS = """{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "metadata": {"owner": "Café ☕", "ratio": 1.50},
  "flags": {
    "recommendations": {
      "state": "ENABLED",   "variants": {"on": true, "off": false},
      "defaultVariant": "on",
      "metadata": { "since" : "2023-05-15" }
    },
    "read-from": {
      "state": "ENABLED",
      "variants": {
        "primary": "primary",
        "standby": "standby"
      },
      "defaultVariant": "primary"
    }
  }
}
"""
ON = FlagState(enabled=True, variant="on")
DISABLED = FlagState(enabled=False, variant="on")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text(FLAGS)
    return path


def store(path: Path) -> FlagdFile:
    return FlagdFile(path=str(path))


def reads(path: Path) -> FlagdReads:
    return FlagdReads(
        path=str(path), flag="read-from", primary="shop-primary", standby="shop-standby", application="shop-reads"
    )


def test_disabling_changes_one_word_of_the_file(path: Path) -> None:
    with opened(store(path)) as flags:
        assert flags.read("recommendations") == ON
        assert flags.write("recommendations", DISABLED, expected=ON) == DISABLED
    assert path.read_text() == FLAGS.replace("ENABLED", "DISABLED", 1)


def test_the_variant_served_by_default_can_be_changed_and_changed_back(path: Path) -> None:
    off = FlagState(enabled=True, variant="off")
    with opened(store(path)) as flags:
        flags.write("recommendations", off, expected=ON)
        assert path.read_text() == FLAGS.replace('"defaultVariant": "on"', '"defaultVariant": "off"')
        flags.write("recommendations", ON, expected=off)
    assert path.read_text() == FLAGS


def test_a_flag_whose_default_is_the_applications_own_has_no_variant(path: Path) -> None:
    path.write_text(FLAGS.replace('"on",\n', "null,\n"))
    with opened(store(path)) as flags:
        own = flags.read("recommendations")
        assert own == FlagState(enabled=True, variant="")
        flags.write("recommendations", ON, expected=own)
        flags.write("recommendations", own, expected=ON)
    assert path.read_text() == FLAGS.replace('"on",\n', "null,\n")


def test_writing_twice_is_harmless(path: Path) -> None:
    with opened(store(path)) as flags:
        flags.write("recommendations", DISABLED, expected=ON)
        assert flags.write("recommendations", DISABLED, expected=ON) == DISABLED


def test_a_flag_changed_meanwhile_is_a_conflict_and_theirs_stays(path: Path) -> None:
    theirs = FLAGS.replace('"defaultVariant": "on"', '"defaultVariant": "off"')
    with opened(store(path)) as flags:
        seen = flags.read("recommendations")
        path.write_text(theirs)
        with pytest.raises(Conflict, match="it is enabled with the variant 'off', not enabled with the variant 'on'"):
            flags.write("recommendations", DISABLED, expected=seen)
    assert path.read_text() == theirs


def test_another_flag_changed_meanwhile_is_kept(path: Path) -> None:
    theirs = FLAGS.replace('"defaultVariant": "primary"', '"defaultVariant": "standby"')
    with opened(store(path)) as flags:
        seen = flags.read("recommendations")
        path.write_text(theirs)
        flags.write("recommendations", DISABLED, expected=seen)
    assert path.read_text() == theirs.replace("ENABLED", "DISABLED", 1)


def test_an_unknown_flag_or_variant_is_named_with_what_there_is(path: Path) -> None:
    with opened(store(path)) as flags:
        with pytest.raises(LookupError, match="no flag 'recommendation', only 'read-from', 'recommendations'"):
            flags.read("recommendation")
        with pytest.raises(LookupError, match="no variant 'maybe', only 'off', 'on'"):
            flags.write("recommendations", FlagState(enabled=True, variant="maybe"), expected=ON)
    assert path.read_text() == FLAGS


@pytest.mark.parametrize(
    "old,new,error,said",
    [
        ('"metadata"', '// who\n  "metadata"', TargetUnreachable, "flags.json:3:3: JSON has no comments"),
        ('"variants": {"on"', '"variants" {"on"', TargetUnreachable, r"flags.json:6:40: Expecting ':' delimiter"),
        ('"flags"', '"flag"', TargetUnreachable, "it has no `flags`"),
        ('"read-from"', '"recommendations"', TargetUnreachable, "'recommendations' stands twice"),
        ('"ENABLED"', '"ON"', LookupError, "the flag 'recommendations' is not as flagd defines it: Invalid enum value"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(
    path: Path, old: str, new: str, error: type[Exception], said: str
) -> None:
    path.write_text(FLAGS.replace(old, new, 1))
    with opened(store(path)) as flags, pytest.raises(error, match=said):
        flags.read("recommendations")


def test_reads_go_where_the_default_variant_says_until_there_is_a_rule(path: Path) -> None:
    with opened(reads(path)) as router:
        assert router.share() == Share(standby=0)
        path.write_text(FLAGS.replace('"defaultVariant": "primary"', '"defaultVariant": "standby"'))
        assert router.share() == Share(standby=100)


def test_every_percent_can_be_set_and_read_back(path: Path) -> None:
    with opened(reads(path)) as router:
        assert router.shares() == tuple(range(101))
        for percent in (25, 50, 100, 0, 1, 99):
            router.shift(Share(standby=percent))
            assert router.share() == Share(standby=percent)


def test_a_shift_adds_the_rule_and_changes_nothing_else(path: Path) -> None:
    with opened(reads(path)) as router:
        router.shift(Share(standby=25))
    changed = json.loads(path.read_text())
    rule = changed["flags"]["read-from"].pop("targeting")
    assert changed == json.loads(FLAGS)
    assert rule == {
        "fractional": [
            {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]},
            ["standby", 25],
            ["primary", 75],
        ]
    }


def test_the_operators_own_bucketing_is_kept(path: Path) -> None:
    rule = {"fractional": [{"var": "email"}, ["primary", 3], ["standby"]]}
    document = json.loads(FLAGS)
    document["flags"]["read-from"]["targeting"] = rule
    path.write_text(json.dumps(document))
    with opened(reads(path)) as router:
        assert router.share() == Share(standby=25)
        router.shift(Share(standby=25))
        assert json.loads(path.read_text()) == document
        router.shift(Share(standby=50))
    written = json.loads(path.read_text())["flags"]["read-from"]["targeting"]
    assert written == {"fractional": [{"var": "email"}, ["standby", 50], ["primary", 50]]}


@pytest.mark.parametrize("standby, primary, percent", [(1, 999, 1), (999, 1, 99), (0, 999, 0), (999, 0, 100)])
def test_a_server_that_still_gets_a_reader_in_a_thousand_is_not_taken_for_one_that_gets_none(
    path: Path, standby: int, primary: int, percent: int
) -> None:
    document = json.loads(FLAGS)
    rule = {"fractional": [["standby", standby], ["primary", primary]]}
    document["flags"]["read-from"]["targeting"] = rule
    path.write_text(json.dumps(document))
    with opened(reads(path)) as router:
        assert router.share() == Share(standby=percent)


def test_a_share_between_two_percents_is_not_taken_for_either(path: Path) -> None:
    document = json.loads(FLAGS)
    document["flags"]["read-from"]["targeting"] = {"fractional": [["standby", 1], ["primary", 999]]}
    path.write_text(json.dumps(document))
    with opened(reads(path)) as router:
        router.shift(Share(standby=0))
    assert json.loads(path.read_text())["flags"]["read-from"]["targeting"]["fractional"][0] == ["standby", 0]


@pytest.mark.parametrize(
    "targeting",
    [
        {"if": [{"in": ["@example.com", {"var": "email"}]}, "standby", "primary"]},
        {"fractional": [["standby", 50], ["tertiary", 50]]},
        {"fractional": [["standby", 0], ["primary", 0]]},
        {"fractional": [["standby", 50], [{"var": "variant"}, 50]]},
        {"fractional": {"var": "weights"}},
        {"fractional": [["standby", 50], ["primary", 50]], "if": []},
    ],
)
def test_somebody_elses_rule_is_never_overwritten(path: Path, targeting: dict[str, object]) -> None:
    document = json.loads(FLAGS)
    document["flags"]["read-from"]["targeting"] = targeting
    path.write_text(json.dumps(document))
    with opened(reads(path)) as router:
        for call in (router.share, router.ping, lambda: router.shift(Share(standby=25))):
            with pytest.raises(LookupError, match="dr did not write and will not replace"):
                call()
    assert json.loads(path.read_text()) == document


@pytest.mark.parametrize(
    "old,new,said",
    [
        ('"read-from": {\n      "state": "ENABLED"', '"read-from": {\n      "state": "DISABLED"', "routes nothing"),
        ('"standby": "standby"', '"replica": "replica"', "needs the variants 'standby' and 'primary'"),
    ],
)
def test_a_flag_that_routes_nothing_is_said_to(path: Path, old: str, new: str, said: str) -> None:
    path.write_text(FLAGS.replace(old, new))
    with opened(reads(path)) as router, pytest.raises(LookupError, match=said):
        router.share()


def test_a_share_that_is_no_percent_is_refused(path: Path) -> None:
    with opened(reads(path)) as router, pytest.raises(LookupError, match="not a share"):
        router.shift(Share(standby=101))
    assert path.read_text() == FLAGS


def readers(path: Path) -> dict[str, str]:
    """Where each of many readers is sent by OpenFeature with flagd's own provider, as an application uses them."""
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    api.set_provider_and_wait(provider)
    try:
        client = api.get_client()
        return {
            key: client.get_string_value("read-from", "none", EvaluationContext(targeting_key=key))
            for key in (f"user-{number}" for number in range(4000))
        }
    finally:
        api.shutdown()
        api.clear_providers()


def test_flagd_really_sends_that_share_of_the_readers(path: Path) -> None:
    with opened(reads(path)) as router:
        before = readers(path)
        assert set(before.values()) == {"primary"}
        for percent in (25, 50, 100):
            router.shift(Share(standby=percent))
            now = readers(path)
            standby = sum(where == "standby" for where in now.values())
            assert abs(100 * standby / len(now) - percent) < 3
            assert all(now[key] == "standby" for key in before if before[key] == "standby"), "a reader went back"
            before = now
        router.shift(Share(standby=0))
        assert set(readers(path).values()) == {"primary"}
