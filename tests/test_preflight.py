"""What must answer before a run begins, and what need not."""

from pathlib import Path

import pytest

from tests.cli.shell import ROOT, refused, write

SERVER = """\
[environments.test.targets.{name}]
type = "postgresql-server"
dsn = "host=127.0.0.1 port=1"
data = "/no/such/directory"
programs = "/no/such/programs"
replication = "host=127.0.0.1 port=1"
"""
OTHERS = """\
[environments.test.targets.pool]
type = "pgbouncer-pool"
path = "pgbouncer.ini"
console = "127.0.0.1:1"
entries = ["shop"]
servers = [{server = "db1", at = "127.0.0.1:2"}, {server = "db2", at = "127.0.0.1:3"}]
[environments.test.targets.shop]
type = "http"
url = "http://127.0.0.1:1"
"""


@pytest.mark.parametrize("runbook,asked", [("database-switchover", True), ("database-failover", False)])
def test_a_dead_primary_is_no_obstacle_to_a_failover_and_one_to_a_switchover(
    tmp_path: Path, runbook: str, asked: bool
) -> None:
    """Safety rule 9; the failover is there because the primary does not answer."""
    text = (ROOT / "runbooks" / f"{runbook}.yaml").read_text(encoding="utf-8")
    toml = SERVER.format(name="db1") + SERVER.format(name="db2") + OTHERS
    write(tmp_path, {"dr.toml": toml, "runbook.yaml": text})
    said = refused(tmp_path, "run", "runbook.yaml", "--env", "test", "--yes", status=16)
    assert ("db1:" in said) == asked
    assert "db2:" in said
    assert "pool:" in said


def test_a_server_that_the_first_step_restores_need_not_be_there_for_the_last(tmp_path: Path) -> None:
    text = (ROOT / "runbooks" / "restore-from-backup.yaml").read_text(encoding="utf-8")
    restored = '[environments.test.targets.restored]\ntype = "postgresql"\ndsn = "host=127.0.0.1 port=1"\n'
    toml = SERVER.format(name="db1") + SERVER.format(name="db2") + OTHERS + restored
    write(tmp_path, {"dr.toml": toml, "runbook.yaml": text})
    said = refused(tmp_path, "run", "runbook.yaml", "--env", "test", "--yes", status=16)
    assert "pool:" in said
    assert "db1:" not in said
    assert "db2:" not in said
