"""`dr audit show`: what is looked for is found, in one run or in all of them, and nothing unreadable is passed over."""

from pathlib import Path

import msgspec
import pytest

from tests.cli.shell import FLAGS, GOOD, SHOP, dr, write

RUN = ("run", "good.yaml", "--yes", "--env")
DRILL = SHOP.replace("environments.shop", "environments.drill")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, on two environments."""
    write(tmp_path, {"dr.toml": SHOP + DRILL[DRILL.index("[environments") :], "good.yaml": GOOD, "flags.json": FLAGS})
    for name in ("shop", "drill"):
        assert dr(tmp_path, *RUN, name).status == 0
    return tmp_path


def shown(folder: Path, *given: str) -> list[dict[str, object]]:
    """The entries that are shown as JSON."""
    seen = dr(folder, "audit", "show", *given, "--json")
    assert seen.status == 0, seen.err
    return [msgspec.json.decode(line) for line in seen.out.splitlines()]


def test_all_runs_are_shown_under_their_names(folder: Path) -> None:
    out = dr(folder, "audit", "show", "--all").out
    names = [line.split()[0] for line in dr(folder, "runs").out.splitlines()]
    assert [line.removesuffix(":") for line in out.splitlines() if line.endswith(":")] == names
    assert len({str(entry["run"]) for entry in shown(folder, "--all")}) == 2


def test_entries_of_an_environment_are_those_of_its_runs(folder: Path) -> None:
    found = shown(folder, "--all", "--environment", "drill")
    assert found == shown(folder, "latest")
    assert dr(folder, "audit", "show", "--all", "--environment", "none").out == ""


def test_entries_of_an_actor(folder: Path) -> None:
    everything = shown(folder, "--all")
    assert shown(folder, "--all", "--actor", str(everything[0]["actor"])) == everything
    assert shown(folder, "--all", "--actor", "somebody-else") == []


def test_entries_of_a_time(folder: Path) -> None:
    """From the first time on, and before the second; in whatever zone they are given."""
    everything = shown(folder, "--all")
    middle = str(everything[len(everything) // 2]["at"])
    assert shown(folder, "--all", "--until", middle) + shown(folder, "--all", "--since", middle) == everything
    eastern = middle.replace("Z", "+00:00")
    assert shown(folder, "--all", "--since", eastern) == [entry for entry in everything if str(entry["at"]) >= middle]


def test_filters_add_up(folder: Path) -> None:
    oldest = shown(folder, "--all")[0]["run"]
    found = shown(folder, "--all", "--environment", "shop", "--step", "off")
    assert found
    assert found == [entry for entry in shown(folder, "--all", "--step", "off") if entry["run"] == oldest]


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_is_none_is_refused(option: str, folder: Path) -> None:
    seen = dr(folder, "audit", "show", "latest", option, "yesterday")
    assert seen.status == 2
    assert f"{option} takes a time such as" in seen.err


@pytest.mark.parametrize("given", [[], ["latest", "--all"]])
def test_either_a_run_or_all_of_them(given: list[str], folder: Path) -> None:
    seen = dr(folder, "audit", "show", *given)
    assert seen.status == 2
    assert "name a run or give --all" in seen.err


@pytest.mark.parametrize("damage", [b"gibberish", b'"at":"yesterday"'])
def test_what_cannot_be_read_is_shown_whatever_is_looked_for(damage: bytes, folder: Path) -> None:
    path = next(journal for journal in folder.glob("journal/runs/*/journal.jsonl"))
    first, rest = path.read_bytes().split(b"\n", 1)
    at = first.index(b'"at":"')
    spoilt = damage if damage == b"gibberish" else first[:at] + damage + first[at + len(b'"at":""') + 27 :]
    path.write_bytes(spoilt + b"\n" + rest)
    out = dr(folder, "audit", "show", "--all", "--actor", "nobody", "--since", "2023-05-15", "--environment", "x").out
    assert [line for line in out.splitlines() if line.startswith("not an entry: ")] == [
        f"not an entry: {spoilt.decode()}"
    ]
