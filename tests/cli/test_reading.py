"""What is in the journal is shown as it is, whatever state it is in."""

import contextlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.cli.shell import GOOD, RUN, SHOP, dr, fingerprint, locked, refused, started, types, until, write

RUN_COMMANDS = [["show"], ["resume"], ["rollback"], ["answer", "retry"], ["audit", "verify"], ["audit", "show"]]


def journal_file(folder: Path) -> Path:
    [path] = folder.glob("journal/runs/*/journal.jsonl")
    return path


@contextlib.contextmanager
def website() -> Iterator[int]:
    """A website that is well; its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "name", ["../x", "", "/", "..", "latest", "2023", "a\nb", "\udcff", "x" * 300, "runs/../../good.yaml"]
)
def test_a_name_that_is_no_run_finds_nothing(name: str, folder: Path) -> None:
    assert "there is no run" in refused(folder, "resume", name, status=12)


@pytest.mark.parametrize("command", RUN_COMMANDS, ids=" ".join)
def test_every_command_on_a_run_refuses_one_that_is_not_there(command: list[str], folder: Path) -> None:
    verb, rest = (command[:2], []) if command[0] == "audit" else (command[:1], command[1:])
    refused(folder, *verb, "latest", *rest, status=12)


def test_a_journal_directory_that_cannot_be_made_stops_before_anything_is_touched(folder: Path) -> None:
    told = refused(folder, *RUN, "--journal", "flags.json/journal", status=14)
    assert "Not a directory" in told
    assert "no run was started" in told


def test_latest_is_the_latest_also_of_two_runs_in_one_second(folder: Path) -> None:
    write(folder, {"z.yaml": GOOD.replace("name: quiet", "name: z")})
    for runbook in ("z.yaml", "good.yaml"):
        assert dr(folder, "run", runbook, "--env", "shop", "--yes").status == 0
    assert "quiet" in dr(folder, "show", "latest").out.splitlines()[0]


def test_the_beginning_of_a_name_is_enough_where_it_is_the_only_one(folder: Path) -> None:
    dr(folder, *RUN)
    [name] = [path.name for path in (folder / "journal/runs").iterdir()]
    assert dr(folder, "show", name[:-3]).status == 0
    dr(folder, *RUN)
    seen = dr(folder, "show", name[:4])
    assert seen.status == 12
    assert f"'{name[:4]}' fits 2 runs: {name}," in seen.err


def test_reading_changes_nothing(folder: Path) -> None:
    dr(folder, *RUN)
    before = fingerprint(folder)
    for arguments in (["runs"], ["show", "latest"], ["audit", "verify", "--all"], ["audit", "show", "latest"]):
        assert dr(folder, *arguments).status == 0
    assert fingerprint(folder) == before


def test_json_on_standard_output_is_the_journal_byte_for_byte(folder: Path) -> None:
    seen = dr(folder, *RUN, "--json")
    assert seen.err == ""
    assert seen.out.encode() == journal_file(folder).read_bytes()
    assert dr(folder, "audit", "show", "latest", "--json").out.encode() == journal_file(folder).read_bytes()


def test_runs_are_listed_for_programs_too(folder: Path) -> None:
    dr(folder, *RUN)
    [row] = [msgspec.json.decode(line) for line in dr(folder, "runs", "--json").out.splitlines()]
    assert row["run"] == journal_file(folder).parent.name
    assert row["environment"] == "shop"


def test_a_list_of_runs_stands_in_columns(folder: Path) -> None:
    write(folder, {"z.yaml": GOOD.replace("name: quiet", "name: a-longer-name")})
    for runbook in ("z.yaml", "good.yaml"):
        dr(folder, "run", runbook, "--env", "shop", "--yes")
    first, second = dr(folder, "runs").out.splitlines()
    assert first.index("  shop  ended") == second.index("  shop  ended")


def test_a_folder_whose_name_holds_lines_cannot_put_a_run_on_the_list(folder: Path) -> None:
    dr(folder, *RUN)
    run = journal_file(folder).parent
    run.rename(run.with_name("x\n20230515T140000.000Z-invented  shop  ended\x1b[2J"))
    [line] = dr(folder, "runs").out.splitlines()
    assert line.startswith(r"x\n20230515T140000.000Z-invented  shop  ended\x1b[2J ")


def test_one_run_that_was_made_unreadable_does_not_keep_the_others_from_being_verified(folder: Path) -> None:
    dr(folder, *RUN)
    whole = journal_file(folder)
    doctored = whole.parent.parent / "00000000T000000.000Z-first-000000"
    doctored.mkdir()
    deep = b'{"prev":"%b","seq":0,"deep":%b%b}\n' % (b"0" * 64, b"[" * 100_000, b"]" * 100_000)
    (doctored / "journal.jsonl").write_bytes(deep)
    seen = dr(folder, "audit", "verify", "--all")
    assert seen.status == 10
    assert f"{doctored.name}: BROKEN" in seen.out
    assert f"{whole.parent.name}: verified" in seen.out


def test_a_run_that_died_before_its_first_entry_is_no_broken_journal(folder: Path) -> None:
    dr(folder, *RUN)
    journal_file(folder).write_bytes(b"")
    (journal_file(folder).parent / "checkpoints.jsonl").unlink()
    assert "never started, nothing was touched" in dr(folder, "runs").out
    seen = dr(folder, "audit", "verify", "--all")
    assert (seen.status, seen.err) == (0, "")
    assert "was never started" in seen.out
    assert dr(folder, "resume", "latest").status == 12


@pytest.mark.parametrize("removal", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["removed", "emptied"])
def test_a_journal_that_was_removed_is_seen(removal: Callable[[Path], object], folder: Path) -> None:
    dr(folder, *RUN)
    removal(journal_file(folder))
    assert "DOES NOT VERIFY [journal-broken]" in dr(folder, "runs").out
    for arguments in (
        ["audit", "verify", "--all"],
        ["audit", "verify", "latest"],
        ["resume", "latest"],
        ["show", "latest"],
    ):
        assert dr(folder, *arguments).status in {10, 14}, arguments


def test_a_recovery_time_of_hours_is_told_in_hours(folder: Path) -> None:
    with website() as port:
        toml = f'{SHOP}[environments.shop.targets.website]\ntype = "http"\nurl = "http://127.0.0.1:{port}"\n'
        steady = "steady_state: {within: 5s, checks: [{probe: http, target: website}]}\n"
        write(folder, {"dr.toml": toml, "good.yaml": GOOD + steady})
        assert dr(folder, *RUN, "--detected", (datetime.now(UTC) - timedelta(hours=5)).isoformat()).status == 0
    assert "actual recovery time: 5 h 00 m from detection\n" in dr(folder, "show", "latest").out


def test_a_journal_that_is_not_there_does_not_verify(folder: Path) -> None:
    for arguments in (["runs"], ["audit", "verify", "--all"], ["show", "latest"]):
        told = refused(folder, *arguments, "--journal", "elsewhere", status=2)
        assert f"there is no directory {folder}/elsewhere" in told


def test_a_run_in_a_directory_that_may_be_a_copy_is_not_gone_on_with_unawares(folder: Path) -> None:
    write(
        folder, {"good.yaml": GOOD.replace("    kind: feature.disable", "    confirm: true\n    kind: feature.disable")}
    )
    assert dr(folder, *RUN).status == 5
    assert "copy" not in dr(folder, "show", "latest").out
    shown = dr(folder, "show", "latest", "--journal", "journal").out
    assert shown.endswith("ANSWER   (yes, skip, rollback, abort)   (unless this is a copy)\n")


def test_no_runs_are_told_with_the_place_that_was_looked_at(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    for arguments in (["runs"], ["audit", "verify", "--all"]):
        seen = dr(folder, *arguments, "--journal", "elsewhere")
        assert (seen.status, seen.out) == (0, f"there are no runs yet in {folder}/elsewhere\n")


def test_an_unfinished_entry_is_told_and_set_aside(folder: Path) -> None:
    with locked(folder / "flags.json"), started(folder, *RUN) as process:
        until(lambda: "apply-started" in types(folder))
        process.kill()
        process.wait()
    with journal_file(folder).open("ab") as file:
        file.write(b'{"prev":"half an ent')
    assert "an unfinished entry of 20 bytes at the end" in dr(folder, "audit", "verify", "latest").out
    seen = dr(folder, "resume", "latest")
    assert seen.status == 0
    assert "an unfinished entry of 20 bytes was set aside" in seen.out
    [aside] = journal_file(folder).parent.glob("torn-*")
    assert aside.read_bytes() == b'{"prev":"half an ent'
    assert dr(folder, "audit", "verify", "latest").status == 0


def test_a_broken_journal_is_still_shown_as_far_as_it_can_be_read(folder: Path) -> None:
    dr(folder, *RUN)
    lines = journal_file(folder).read_bytes().split(b"\n")
    lines[1] = b"\x1b[2J\xff not an entry"
    journal_file(folder).write_bytes(b"\n".join(lines))
    seen = dr(folder, "audit", "show", "latest")
    assert seen.status == 0
    assert r"not an entry: \x1b[2J\xff not an entry" in seen.out
    assert "run ended: completed" in seen.out
    assert "DOES NOT VERIFY [journal-broken]" in dr(folder, "runs").out
    for arguments in (["show", "latest"], ["audit", "verify", "latest"], ["audit", "verify", "--all"]):
        told = dr(folder, *arguments)
        assert told.status == 10
        assert "entry 1" in told.out + told.err


def test_a_run_that_was_changed_is_not_shown_as_if_it_were_whole(folder: Path) -> None:
    assert dr(folder, *RUN).status == 0
    path = journal_file(folder)
    path.write_bytes(path.read_bytes().replace(b'"actor":"oncall"', b'"actor":"mal\\u001b[2J"', 1))
    seen = dr(folder, "show", "latest")
    assert seen.status == 10
    assert "mal\\x1b[2J" in seen.out
    assert "ended (completed" not in seen.out
    assert "does not verify: entry " in seen.err


def test_the_entries_of_one_step_are_shown_alone(folder: Path) -> None:
    dr(folder, *RUN)
    assert all(" off: " in line for line in dr(folder, "audit", "show", "latest", "--step", "off").out.splitlines())


@pytest.mark.parametrize("goal, verdict", [("5m", "objective 5m: met"), ("30s", r"objective 30s: MISSED by .+")])
def test_the_recovery_time_is_measured_from_the_detection(goal: str, verdict: str, folder: Path) -> None:
    """Safety rule 14: until the steady state has held, not until the last step returned."""
    steady = "steady_state: {within: 5s, hold: 200ms, every: 50ms, checks: [{probe: http, target: website}]}\n"
    with website() as port:
        toml = f'{SHOP}[environments.shop.targets.website]\ntype = "http"\nurl = "http://127.0.0.1:{port}"\n'
        write(folder, {"dr.toml": toml, "good.yaml": GOOD + f"objectives: {{rto: {goal}}}\n" + steady})
        half_a_minute_ago = datetime.now(UTC) - timedelta(seconds=30)
        seen = dr(folder, *RUN, "--detected", half_a_minute_ago.isoformat())
    assert seen.status == 0
    assert "recovered: " in seen.out
    [said] = re.findall("^actual recovery time: .*$", seen.out, re.MULTILINE)
    assert said in dr(folder, "show", "latest").out.splitlines(), "the same where it is told again"
    told = dr(folder, "show", "latest").out
    measured = re.search(r"actual recovery time: (\S+) s from detection; (.*)", told)
    assert measured is not None
    assert float(measured[1]) >= 30.2, "what went by before, and the hold time"
    assert re.fullmatch(verdict, measured[2]), measured[2]
