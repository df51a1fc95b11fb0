"""`restore-from-backup` as an operator meets it: checked, planned, tried as a drill, run, turned back."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dr.demo import wait
from dr.targets.transport.fresh_directory import Backup
from tests.cli.shell import PATIENCE, command, environment, journal, until
from tests.cluster import LIMIT, Cluster, cluster
from tests.desk import RESTORE, Desk
from tests.website import website

RUN = ("run", RESTORE, "--env", "test", "--yes")
RESTORED = '[environments.test.targets.restored]\ntype = "postgresql"\ndsn = "{dsn}"\npassword = "env:PGTEST"\n'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """`db1` with a backup from before its last rows, an archive with them, and `db2` without data."""
    with cluster(standbys=0, empty=1, release=16) as servers, website() as shop:
        backups, archive = (servers.workspace.directory / name for name in ("backups", "archive"))
        servers.workspace.run([*servers.prefix, "mkdir", backups, archive], "mkdir.log")
        archive_from_now_on(servers, archive)
        servers.first.back_up(backups / "2026-01-01")
        with servers.first.server.connect() as primary:
            primary.execute("create table dr_heartbeat as select clock_timestamp() as at")
            primary.execute("insert into writes values (1, 'archived')")
            [last] = primary.execute("select pg_walfile_name(pg_switch_wal())").fetchone() or ()
            wait.until((archive / str(last)).exists, LIMIT, "it is archived")
            primary.execute("insert into writes values (2, 'not archived')")
        second = servers.second
        backup = Backup(folder=str(backups), wal=f"cp {archive}/%f %p")
        second.config = msgspec.structs.replace(second.config, backup=backup)
        desk = Desk(tmp_path, servers, shop, servers.first, second)
        with (tmp_path / "dr.toml").open("a", encoding="utf-8") as toml:
            toml.write(RESTORED.format(dsn=second.config.dsn))
        yield desk


def archive_from_now_on(servers: Cluster, archive: Path) -> None:
    with servers.first.server.connect() as primary:
        primary.execute("alter system set archive_mode = 'on'")
        primary.execute(f"alter system set archive_command = 'cp %p {archive}/%f'")
    servers.first.kill()
    servers.first.start()


def test_it_is_right_and_its_plan_says_what_cannot_be_undone(desk: Desk) -> None:
    assert desk.dr("check", RESTORE, "--env", "test").status == 0
    plan = desk.dr("plan", RESTORE, "--env", "test", "--look")
    assert plan.status == 0, plan.err
    assert "db2: absent, backup: " in plan.out
    assert "/backups/2026-01-01" in plan.out
    wrong = desk.dr("plan", RESTORE, "--env", "test", "-p", "until=2026-01-01T00:00:00")
    assert re.search(r"restore-from-backup\.yaml:\d+:14: until: .* is a time without its zone", wrong.err), wrong.err
    early = desk.dr("plan", RESTORE, "--env", "test", "--look", "-p", "until=2020-01-01T00:00:00Z")
    assert "no complete backup of pg_basebackup that was complete at 2020-01-01 00:00:00" in early.out
    assert "Fence db1, and promote db2; what it lacks is lost" in plan.out


def test_as_a_drill_it_touches_nothing_but_the_server_that_is_restored(desk: Desk) -> None:
    asked = desk.dr(*RUN)
    assert asked.status == 5, asked.out + asked.err
    assert "verify: done" in asked.out
    undone = desk.dr("rollback", "latest")
    assert undone.status == 4, undone.out + undone.err
    assert desk.primary.writable()
    assert not desk.standby.answers()


def test_a_server_comes_back_from_its_backup_and_what_is_lost_is_told(desk: Desk) -> None:
    desk.primary.kill()
    assert desk.dr(*RUN).status == 5
    assert not desk.standby.writable()
    done = desk.dr("answer", "latest", "yes")
    assert done.status == 0, done.out + done.err
    with desk.servers.connect() as client:
        assert client.execute("select id from writes").fetchall() == [(1,)]
        client.execute("insert into writes values (3, 'x')")
    assert not desk.primary.writable()
    [claim] = [event["claim"] for event in journal(desk.folder) if "promoted" in event.get("claim", {})]
    assert 0 < claim["lost_at_most_seconds"] < 300
    shown = desk.dr("show", "latest").out
    assert re.search(r"actual recovery point: at most \S+ \w+ of writes lost; objective 15m: met", shown), shown


def test_a_restore_that_is_killed_in_its_copy_is_begun_anew_and_leaves_no_half_of_one(desk: Desk) -> None:
    data = desk.standby.server.data
    process = subprocess.Popen(
        command(*RUN), cwd=desk.folder, env=environment(desk.folder, **desk.variables),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: [*data.parent.glob("db2.fresh-*")] != [] or process.poll() is not None)
    process.kill()
    process.wait(PATIENCE)
    paused = desk.dr("resume", "latest")
    assert paused.status == 5, paused.out + paused.err
    asked = desk.dr("answer", "latest", "retry")
    assert asked.status == 5, asked.out + asked.err
    assert "paused on fail-over" in asked.out
    assert not [*data.parent.glob("db2.fresh-*")]
    assert desk.servers.ids(desk.standby) == {1}


def test_data_that_are_too_old_are_not_promoted(desk: Desk) -> None:
    desk.primary.kill()
    paused = desk.dr(*RUN, "-p", "within=2s", "-p", "oldest=0.001")
    assert paused.status == 5, paused.out + paused.err
    assert "well is from 0 to 0.001" in paused.out
    assert not desk.standby.writable()


def test_a_primary_whose_data_are_lost_cannot_be_fenced_and_is_not_replaced_unasked(desk: Desk) -> None:
    lose_the_primary(desk)
    assert desk.dr(*RUN).status == 5
    refused = desk.dr("answer", "latest", "yes")
    assert refused.status == 5, refused.out + refused.err
    assert "db1 cannot be fenced, so it may still take writes" in refused.out
    assert not desk.standby.writable()


def test_a_primary_whose_data_are_lost_is_replaced_when_the_operator_says_that_the_site_is_gone(desk: Desk) -> None:
    lose_the_primary(desk)
    asked = desk.dr(*RUN, "--ungraceful")
    assert asked.status == 5, asked.out + asked.err
    assert "Fence db1, even if it is unfenced" in asked.out
    done = desk.dr("answer", "latest", "yes")
    assert done.status == 0, done.out + done.err
    assert desk.standby.writable()


def lose_the_primary(desk: Desk) -> None:
    desk.primary.kill()
    data = desk.primary.server.data
    data.rename(data.with_name("lost"))
