"""What the README shows works as it stands there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from dr.demo import wait
from dr.load import Document
from localstack.instance import LocalStack
from tests.cli.shell import PATIENCE, ROOT, environment, types
from tests.cluster import LIMIT, cluster
from tests.localstack_fixture import Buckets
from tests.readme import shown_as

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
