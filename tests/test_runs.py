"""Runs of the real process: killed at any moment and resumed, wanted by two at once, gone on with elsewhere."""

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.cli.shell import (
    PATIENCE,
    ROOT,
    SHOP,
    command,
    dr,
    environment,
    flags_off,
    locked,
    started,
    types,
    until,
    write,
)
from tests.killed import Seen

RUNBOOK = """\
name: quiet
title: Switch off what floods the database
steps:
  - {id: begin, kind: note, with: {text: "on-call has taken over"}}
  - {id: off-search, kind: feature.disable, retry: {wait: 1ms}, with: {store: flags, flag: search}}
  - {id: off-reviews, kind: feature.disable, with: {store: flags, flag: reviews}}
  - parallel:
      - {id: off-offers, kind: feature.disable, retry: {wait: 1ms}, with: {store: flags, flag: offers}}
      - {id: told, kind: note, with: {text: "offers follow"}}
"""
ON, OFF = (
    f'{{"state": "{state}", "variants": {{"on": true}}, "defaultVariant": "on"}}' for state in ("ENABLED", "DISABLED")
)
FLAGS = f'{{"flags": {{"search": {ON}, "reviews": {OFF}, "offers": {ON}}}}}\n'
FILES = {"dr.toml": SHOP, "quiet.yaml": RUNBOOK, "flags.json": FLAGS}
RUN = ("run", "quiet.yaml", "--env", "shop", "--yes")
CHANGED = {"off-search": "search", "off-offers": "offers"}
"""Steps that change something, with their flags; `reviews` is off already."""


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    """What was seen at each place where the process can be killed."""
    origin = tmp_path_factory.mktemp("killed") / "origin"
    write(origin, FILES)
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed", origin], cwd=ROOT, env=environment(origin), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=5 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = [msgspec.json.decode(line, type=Seen) for line in done.stdout.splitlines()]
    assert all(one.killed == -signal.SIGKILL for one in seen)
    return seen


def events(journal: str) -> list[tuple[str, str]]:
    """Type and step of each complete entry."""
    lines = journal.split("\n")[:-1]
    return [(event["type"], event.get("step", "")) for event in (msgspec.json.decode(line)["event"] for line in lines)]


def test_the_kills_reach_every_entry_and_every_touch(kills: list[Seen]) -> None:
    sizes = {len(events(seen.journal)) for seen in kills}
    assert max(sizes) == 13, "a run-started, four times apply, claim and seen in one order or another, and the end"
    assert len(sizes) >= 10, "entries that belong together are one write"
    assert {seen.touch for seen in kills} >= {"write", "fsync", "fdatasync", "rename", "mkdir"}
    assert any(seen.kill.when == "amid" and not seen.journal.endswith("\n") for seen in kills)


def test_a_run_killed_anywhere_is_resumed_to_its_end(kills: list[Seen]) -> None:
    for seen in kills:
        ended_before = events(seen.journal)[-1:] == [("run-ended", "")]
        assert seen.status == (13 if ended_before else 0), seen
        assert events(seen.journal_after)[-1] == ("run-ended", ""), seen
        assert seen.off_after == {"search", "reviews", "offers"}, seen
        assert seen.litter == [], seen


def test_a_journal_that_went_through_a_kill_verifies(kills: list[Seen]) -> None:
    assert [seen for seen in kills if seen.verified != 0] == []


def test_nothing_is_touched_without_a_durable_intent(kills: list[Seen]) -> None:
    """Safety rule 1: whenever the process dies, what it has changed stands in its journal."""
    for seen in kills:
        for step, flag in CHANGED.items():
            assert flag not in seen.off or ("apply-started", step) in events(seen.journal), seen


def test_what_is_done_is_not_done_again(kills: list[Seen]) -> None:
    for seen in kills:
        before = events(seen.journal)
        after = events(seen.journal_after)[len(before) :]
        for _, step in (event for event in before if event[0] == "step-done"):
            assert ("apply-started", step) not in after, seen
        done = [step for kind, step in events(seen.journal_after) if kind == "step-done"]
        assert sorted(done) == ["begin", "off-offers", "off-reviews", "off-search", "told"], seen


def test_what_was_in_doubt_is_looked_at_and_not_applied_again_when_it_took_effect(kills: list[Seen]) -> None:
    """Safety rule 2: the look decides, not the fact that the process died."""
    for seen in kills:
        before = events(seen.journal)
        after = events(seen.journal_after)[len(before) :]
        for step, flag in CHANGED.items():
            if ("apply-started", step) in before and ("step-done", step) not in before:
                assert (("apply-started", step) in after) == (flag not in seen.off), seen


def test_an_entry_that_was_half_written_is_set_aside_and_said(kills: list[Seen]) -> None:
    for seen in kills:
        if seen.journal.count("\n") and not seen.journal.endswith("\n"):
            torn = seen.journal.rpartition("\n")[2]
            resumed = next(line for line in seen.journal_after.splitlines() if '"run-resumed"' in line)
            assert msgspec.json.decode(resumed)["event"]["torn_bytes"] == len(torn), seen


@pytest.mark.parametrize("line", [1, 3, 5, 8])
def test_a_run_killed_from_outside_while_it_works_is_resumed_to_its_end(line: int, tmp_path: Path) -> None:
    """By process id, as the kernel's out-of-memory killer does, wherever it is when the line has appeared."""
    write(tmp_path, FILES)
    with started(tmp_path, *RUN) as process:
        until(lambda: len(types(tmp_path)) >= line)
        process.kill()
        process.wait(PATIENCE)
    assert dr(tmp_path, "resume", "latest").status in {0, 13}
    assert flags_off(tmp_path) == {"search", "reviews", "offers"}
    assert dr(tmp_path, "audit", "verify", "latest").status == 0


def test_of_two_resumes_at_once_exactly_one_goes_on(tmp_path: Path) -> None:
    """Safety rule 7."""
    write(tmp_path, FILES)
    flags = tmp_path / "flags.json"
    with locked(flags):
        with started(tmp_path, *RUN) as process:
            until(lambda: "apply-started" in types(tmp_path)[-1:] and types(tmp_path).count("apply-started") == 2)
            process.kill()
            process.wait(PATIENCE)
        both = [
            subprocess.Popen(
                command("resume", "latest"), cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]  # fmt: skip
        until(lambda: any(resume.poll() is not None for resume in both))
    assert sorted(resume.wait(PATIENCE) for resume in both) == [0, 11]
    assert types(tmp_path).count("run-resumed") == 1
    assert flags_off(tmp_path) == {"search", "reviews", "offers"}


def test_a_run_is_resumed_from_a_copy_of_its_journal_without_runbook_and_dr_toml(tmp_path: Path) -> None:
    """Safety rule 11: the plan beside the journal is all that is needed."""
    write(tmp_path, FILES)
    with locked(tmp_path / "flags.json"), started(tmp_path, *RUN) as process:
        until(lambda: types(tmp_path).count("apply-started") == 2)
        process.kill()
        process.wait(PATIENCE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "journal").rename(elsewhere / "journal")
    (tmp_path / "quiet.yaml").unlink()
    (tmp_path / "dr.toml").unlink()
    assert dr(elsewhere, "resume", "latest", "--journal", "journal").status == 0
    assert flags_off(tmp_path) == {"search", "reviews", "offers"}
