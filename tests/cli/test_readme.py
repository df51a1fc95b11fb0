"""What the README shows works as it stands there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dr.demo import wait
from dr.load import Document
from dr.report.summary import Summary
from localstack.instance import LocalStack
from tests.cli.shell import FAILING, FLAGS, GOOD, PATIENCE, ROOT, SHOP, environment, types, write
from tests.cluster import LIMIT, cluster
from tests.localstack_fixture import Buckets
from tests.readme import shown_as
from tests.report.recorded import OVERLOAD, record, recovered
from tests.report.recorded import RUN as RECORDED

BUCKETS = ("s3://dr-journal-mirror/", "s3://dr-journal/")


def test_what_the_readme_shows_of_a_home_works_on_localstack(
    tmp_path: Path, localstack: LocalStack, buckets: Buckets
) -> None:
    shown = shown_as("on-localstack", "sh")
    for name, bucket in zip(BUCKETS, (buckets.mirror, buckets.home), strict=True):
        assert name in shown
        shown = shown.replace(name, f"s3://{bucket.name}/")
    script = f'dr() {{ {sys.executable} -m dr "$@" && echo "status 0" || echo "status $?"; }}\n{shown}'
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=environment(tmp_path, **localstack.environment),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    statuses = [line.removeprefix("status ") for line in done.stdout.splitlines() if line.startswith("status ")]
    assert statuses == ["5", "20", "0", "0", "0", "0"], done.stdout + done.stderr
    assert "finished: " in done.stdout
    assert done.stdout.count(": the same") == 2
    assert types(tmp_path)[-1] == "run-ended"


def test_a_drill_runs_from_cron_as_it_is_shown(tmp_path: Path) -> None:
    """With nothing but what cron gives: no terminal, no HOME, a short PATH, and a mask that lets nobody else in."""
    write(tmp_path, {"dr.toml": SHOP.replace("shop", "drill"), "quiet.yaml": GOOD, "flags.json": FLAGS})
    script = shown_as("scheduled-drill", "sh").replace("/srv/drills", str(tmp_path))
    job = tmp_path / "job"
    job.write_text(script.replace("/opt/dr/bin/dr", f"{sys.executable} -m dr").replace("umask 027", "umask 077"))
    cron = ["env", "-i", "PATH=/usr/bin:/bin", "LANG=C", f"PYTHONPATH={ROOT}", "setsid", "--wait", "sh", str(job)]

    def drill() -> tuple[int, str]:
        done = subprocess.run(cron, cwd="/", capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    assert drill() == (0, "")
    write(tmp_path, {"quiet.yaml": FAILING})
    status, mail = drill()
    assert status == 5
    assert mail.startswith("the drill ended with 5\n")
    assert f"next:   dr answer --config {tmp_path}/dr.toml 2" in mail
    assert drill()[0] == 20
    assert [line.split()[1] for line in (tmp_path / "statuses").read_text().splitlines()] == ["0", "5", "20"]
    assert not [path for path in tmp_path.rglob("*") if "journal" in path.parts and path.stat().st_mode & 0o077]


def test_a_year_of_drills_becomes_a_sheet_and_metrics(tmp_path: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed (Debian: apt-get install jq)")
    drilled = msgspec.structs.replace(OVERLOAD, environment="drill")
    record(tmp_path / "journal", drilled, recovered(drilled))

    def shown(mark: str) -> list[str]:
        script = f'dr() {{ {sys.executable} -m dr "$@" --journal {tmp_path / "journal"}; }}\n{shown_as(mark, "sh")}'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True,
            text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    assert shown("drills-sheet") == [f'"{RECORDED}","2023-05-15T14:00:00.000000Z","completed","well",14.5,300,,,true']
    assert shown("drills-prometheus") == [
        'dr_drill_recovered{runbook="database-overload"} 1',
        'dr_drill_recovery_seconds{runbook="database-overload"} 14.5',
        'dr_drill_last_entry_timestamp_seconds{runbook="database-overload"} 1684159212',
    ]


def test_the_names_that_are_promised_are_those_there_are() -> None:
    page = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")
    table = page.partition("| name | |\n")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(Summary.__struct_fields__)


def test_the_heartbeat_is_written_through_the_pool_and_read_as_the_runbooks_read_it() -> None:
    runbook = Document("", (ROOT / "runbooks" / "database-failover.yaml").read_text(encoding="utf-8")).value
    query = msgspec.convert(runbook, dict)["parameters"]["heartbeat"]["default"]
    with cluster() as servers:
        with servers.first.server.connect() as primary:
            primary.execute(shown_as("heartbeat", "sql").encode())
            made = primary.execute("select at from dr_heartbeat").fetchall()
        there = "select count(*) from pg_tables where tablename = 'dr_heartbeat'"
        wait.until(lambda: servers.second.ask(there) == 1, LIMIT, "the table on the standby")
        pool = f"host=127.0.0.1 port={servers.port} dbname=shop user=shop"
        path = f"{servers.first.config.programs}:{os.environ['PATH']}"
        writer = subprocess.Popen(
            ["bash", "-euc", shown_as("heartbeat-writers", "sh")], env={"POOL": pool, "PATH": path},
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            wait.until(lambda: [(servers.second.ask("select at from dr_heartbeat"),)] != made, LIMIT, "a heartbeat")
            assert 0 < servers.second.ask(query) < LIMIT
        finally:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()
