"""A power cut at any moment of a run: what it may leave is gone on with, and nothing that was told is lost."""

import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dr.audit import chain
from dr.cli.main import cli
from dr.core import events as e
from dr.core.events import Entry, decode_entry
from dr.errors import DrError, EvidenceIncomplete, NoSuchRun, RunEnded
from tests.cli.shell import SHOP, command, environment, write
from tests.keyring import Keyring, identity
from tests.power import Cut, Disk, Name, Say, State, Sync, Write, cuts, memory, seen
from tests.traced import Record, record, strace

pytestmark = strace

RUNBOOK = """\
name: quiet
title: Switch off what floods the database
steps:
  - {id: off-search, kind: feature.disable, with: {store: flags, flag: search}, retry: {wait: 1ms}}
  - {id: said, kind: note, with: {text: "the search is off"}}
  - {id: off-offers, kind: feature.disable, with: {store: flags, flag: offers}, retry: {wait: 1ms}}
"""
STEPS = {"search": "off-search", "offers": "off-offers"}
FLAG = {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"}
RUN = ("run", "quiet.yaml", "--env", "shop", "--yes", "--json")
RESUME = ("resume", "latest", "--json")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run `dr` in, in memory where there is some."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        place = Path(name)
        flags = json.dumps({"flags": {"search": FLAG, "offers": FLAG}})
        write(place, {"dr.toml": SHOP, "quiet.yaml": RUNBOOK, "flags.json": flags})
        monkeypatch.chdir(place)
        monkeypatch.setenv("LOGNAME", "oncall")
        yield place


def traced(
    folder: Path, *arguments: str, earlier: Record | None = None, inject: Sequence[str] = (), **changes: str
) -> Record:
    return record(folder, command(*arguments), env=environment(folder, **changes), earlier=earlier, inject=inject)


def signed(folder: Path, keyring: Keyring) -> None:
    """Runs are signed by alice."""
    signing = f'[signing]\nkey = "file:{keyring.path("alice")}"\nidentity = "{identity("alice")}"\n'
    write(folder, {"dr.toml": f'{SHOP}{signing}allowed_signers = "allowed"\n', "allowed": keyring.allowed})


def dr(*arguments: str) -> int:
    """A new process of `dr`, but for the process: its exit status."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli.main(args=arguments, prog_name="dr", standalone_mode=False)
        except DrError as error:
            return error.exit_status
    return 0


def file(state: State, ending: str) -> bytes:
    """The newest file whose path ends like that; empty when there is none."""
    return next((state.tree[path] or b"" for path in sorted(state.tree, reverse=True) if path.endswith(ending)), b"")


def off(flags: bytes) -> set[str]:
    assert flags.endswith(b"}"), "the flags are spoilt"
    assert b"\0" not in flags, "the flags are spoilt"
    return {name for name, flag in json.loads(flags)["flags"].items() if flag["state"] == "DISABLED"}


def read(journal: bytes) -> tuple[list[Entry], bytes]:
    """The entries of a journal that must be well, and what is unfinished at its end."""
    unfinished: list[bytes] = []
    lines = list(chain.split([journal], unfinished))
    chain.check(lines)
    return [decode_entry(line) for line in lines], b"".join(unfinished)


def kept(state: State, shown: bytes) -> None:
    """What must be on the disk when the power comes back."""
    journal = file(state, "journal.jsonl")
    entries, unfinished = read(journal)
    lines = journal.removesuffix(unfinished).splitlines()
    assert set(shown.splitlines()) <= set(lines), "an entry that was shown is lost"
    begun = {entry.event.step for entry in entries if isinstance(entry.event, e.ApplyStarted)}
    done = {entry.event.step for entry in entries if isinstance(entry.event, e.StepDone)}
    switched = {STEPS[flag] for flag in off(file(state, "flags.json"))}
    assert switched <= begun, "an effect without its intent"
    assert switched >= done - {"said"}, "an effect that is recorded is lost"
    if entries:
        assert isinstance(entries[0].event, e.RunStarted)
        assert hashlib.sha256(file(state, "plan.json")).hexdigest() == entries[0].event.plan.removeprefix("sha256:")
        assert entries[0].run.encode() in file(state, "shop/0000000000.json"), "the environment is not locked"


def gone_on_with(folder: Path, state: State, shown: bytes) -> None:
    """By `dr` itself, from what is on the disk; where the run never began, by another one."""
    state.put(folder)
    assert dr("runs") == 0
    assert dr("audit", "verify", "--all") in {0, EvidenceIncomplete.exit_status}
    status = dr(*RESUME)
    if status == NoSuchRun.exit_status:
        assert not shown
        assert dr(*RUN) == 0
    else:
        assert status in {0, RunEnded.exit_status}
        unfinished_is_kept(folder, file(state, "journal.jsonl"))
    if dr("audit", "verify", "--all"):
        assert dr("audit", "sign", "latest") == 0  # it had ended, but the last signature was not yet there
        assert dr("audit", "verify", "--all") == 0
    assert off((folder / "flags.json").read_bytes()) == {"search", "offers"}


def unfinished_is_kept(folder: Path, before: bytes) -> None:
    """And told: what the cut has left of the last write is in a file, and its size and hash in an entry."""
    _, unfinished = read(before)
    if unfinished:
        place = next(folder.glob("journal/runs/*/journal.jsonl"))
        resumed = [entry.event for entry in read(place.read_bytes())[0] if isinstance(entry.event, e.RunResumed)]
        told = [(event.torn_bytes, event.torn_sha256) for event in resumed]
        assert (len(unfinished), hashlib.sha256(unfinished).hexdigest()) in told
        assert unfinished in [path.read_bytes() for path in place.parent.glob("torn-*")]


def shown_before(cut: Cut, run: Record) -> bytes:
    """What the operator had seen of the journal."""
    return b"".join(asked.text for asked in run.asked[: cut.after] if isinstance(asked, Say))


def survives(folder: Path, run: Record, *, since: int = 0) -> int:
    """Whatever a cut leaves is gone on with, after so many operations. How many different states that were."""
    found = (cut for cut in cuts(run.before, run.asked) if cut.after >= since)
    worst = {cut.state.key: cut for cut in found}  # the last one: most was shown before it
    for cut in worst.values():
        kept(cut.state, shown_before(cut, run))
        gone_on_with(folder, cut.state, shown_before(cut, run))
    return len(worst)


def loses(run: Record) -> bool:
    """Whether some cut breaks a promise, or something is not safe when the program has ended."""
    disk = Disk(run.before)
    for asked in run.asked:
        disk.take(asked)
    if any(but_messages(state) != but_messages(disk.now()) for state in disk.states()):
        return True
    try:
        for cut in cuts(run.before, run.asked):
            kept(cut.state, shown_before(cut, run))
    except (AssertionError, chain.Broken):
        return True
    return False


def but_messages(state: State) -> dict[str, bytes | None]:
    """The tree without what is only there to be told in messages."""
    return {path: content for path, content in state.tree.items() if not path.endswith("/holder")}


def test_a_run_goes_on_after_a_power_cut_at_any_moment(folder: Path) -> None:
    """Safety rules 1 and 8."""
    run = traced(folder, *RUN)
    assert run.status == 0
    assert not loses(run)
    assert survives(folder, run) > 100


def test_a_signed_run_goes_on_after_a_power_cut_at_any_moment(folder: Path, keyring: Keyring) -> None:
    """A signed checkpoint is larger than a sector, so it may be left with a hole, too."""
    signed(folder, keyring)
    run = traced(folder, *RUN)
    assert run.status == 0
    assert not loses(run)
    assert any(b"\0" in file(cut.state, "checkpoints.jsonl") for cut in cuts(run.before, run.asked))
    survives(folder, run)


@pytest.mark.parametrize("sync", [4, 7])
def test_entries_that_a_killed_process_did_not_sync_are_safe_before_another_one_goes_on(
    folder: Path, sync: int
) -> None:
    """The next process sees them, as long as the power is on. Safety rule 1."""
    killed = traced(folder, *RUN, inject=[f"fdatasync:signal=KILL:when={sync}"])
    assert killed.status < 0
    both = traced(folder, *RESUME, earlier=killed)
    survives(folder, both, since=len(killed.asked))


def test_a_checkpoint_that_a_killed_process_did_not_sync_does_not_spoil_the_next(
    folder: Path, keyring: Keyring
) -> None:
    signed(folder, keyring)
    killed = traced(folder, *RUN, inject=["fsync:signal=KILL:when=12"])
    both = traced(folder, *RESUME, earlier=killed)
    first, second, *_ = [
        number for number, asked in enumerate(both.asked) if isinstance(asked, Write) and b"SIGNATURE" in asked.data
    ]
    assert first == len(killed.asked) - 1
    survives(folder, Record(both.before, both.asked[: second + 2], 0), since=first)


def test_what_a_power_cut_left_is_kept_also_when_it_is_cut_again(folder: Path) -> None:
    """While that is set aside, and the run is gone on with. (Entries are long here: several sectors.)"""
    run = traced(folder, *RUN, LOGNAME="o" * 300)
    left = {read(file(cut.state, "journal.jsonl"))[1]: cut for cut in cuts(run.before, run.asked)}
    unfinished = max(left, key=lambda text: len(text.replace(b"\0", b"")))
    left[unfinished].state.put(folder)
    resumed = traced(folder, *RESUME, LOGNAME="o" * 300)
    for cut in cuts(resumed.before, resumed.asked):
        aside = [content for path, content in cut.state.tree.items() if "/torn-" in path]
        assert unfinished in [*aside, read(file(cut.state, "journal.jsonl"))[1]]
    survives(folder, resumed)


@pytest.mark.parametrize(
    "made, command",
    [("report", ("show", "latest", "--report", "report")), ("pack", ("audit", "export", "latest", "-o", "pack"))],
)
def test_a_report_and_a_pack_are_there_whole_or_not_at_all(folder: Path, made: str, command: Sequence[str]) -> None:
    """And for good once they were announced."""
    assert dr(*RUN) == 0
    run = traced(folder, *command)
    assert run.status == 0
    found = [(part(cut.state, made), shown_before(cut, run)) for cut in cuts(run.before, run.asked)]
    assert {content for content, _ in found} == {frozenset(), part(seen(folder), made)}
    assert all(content for content, shown in found if made.encode() in shown)


def part(state: State, name: str) -> frozenset[tuple[str, bytes | None]]:
    """The file or folder of that name with all that is in it."""
    return frozenset((path, content) for path, content in state.tree.items() if path.split("/")[0] == name)


def test_each_sync_of_a_run_is_needed(folder: Path) -> None:
    """And this world sees it when one is left out."""
    run = traced(folder, *RUN)
    syncs = {number: asked.what for number, asked in enumerate(run.asked) if isinstance(asked, Sync)}
    assert len(syncs) > 20
    idle = [what for number, what in syncs.items() if not loses(run.without(number))]
    names = {what: place[1] for asked in run.asked if isinstance(asked, Name) for place, what in asked.changes}
    # The name of the folder `runs` is synced when it is made and with the run, because a kill may have come in between.
    # The empty journal is synced once more with its first entry.
    assert [names.get(what) for what in idle] == ["journal", "journal.jsonl", "journal"]
