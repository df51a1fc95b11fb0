"""One server in all its situations. Role changes as a whole are in tests/steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.demo import wait
from dr.targets.postgresql_server import PostgresqlServer
from dr.targets.protocols import Refused, TargetUnreachable
from tests.cluster import LIMIT, Cluster, cluster
from tests.here import Secrets, opened


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.fixture
def first(servers: Cluster) -> Iterator[Any]:
    """The primary, opened as a target."""
    with opened(servers.first.config, secrets=Secrets(servers.secrets), name="db1") as target:
        yield target


def test_each_situation_is_told_from_the_others(servers: Cluster, first: Any) -> None:
    assert first.situation() == "writable"
    first.stop()
    assert first.situation() == "stopped"
    first.stop()
    first.fence()
    assert first.situation() == "fenced"
    first.start()
    assert first.situation() == "standby"
    first.stop()
    assert first.situation() == "fenced"
    first.unfence()
    first.start()
    assert first.situation() == "writable"
    servers.first.kill()
    assert first.situation() == "crashed"
    with pytest.raises(Refused, match="is down, and was not shut down in order"):
        first.stop()
    first.start()
    first.start()
    assert first.situation() == "writable"


def test_a_server_that_runs_is_not_fenced_and_stays_as_it_is(servers: Cluster, first: Any) -> None:
    """Safety rule 10: a fence that is only believed in is none."""
    with pytest.raises(Refused, match="db1 cannot be fenced: it is not down"):
        first.fence()
    assert servers.first.writable()
    servers.first.kill()
    servers.first.start()
    assert servers.first.writable()


def test_a_fence_that_was_there_is_kept_when_somebody_has_started_the_server_meanwhile(
    servers: Cluster, first: Any
) -> None:
    """Safety rule 10: that start may be on the way to look for it."""
    servers.first.kill()
    first.fence()
    servers.first.start()
    with pytest.raises(Refused, match="db1 cannot be fenced: it is not down"):
        first.fence()
    servers.first.kill()
    servers.first.start()
    assert not servers.first.writable()


def test_a_frozen_server_gives_no_answer_by_the_deadline(servers: Cluster, first: Any) -> None:
    servers.first.freeze()
    try:
        first.keep_within(1)
        with pytest.raises(TargetUnreachable):
            first.situation()
        first.keep_within(1)
        with pytest.raises(TargetUnreachable):
            first.halt()
    finally:
        servers.first.thaw()
    wait.until(lambda: servers.first.process() is None, LIMIT, "what was asked of it while it was frozen")


def test_impatience_with_a_server_that_starts_does_not_outlast_its_start(first: Any) -> None:
    """It may have a checkpoint before it that takes its time, or a query that somebody wrote."""
    first.stop()
    first.start()
    limit = "select setting::float8 / 1000 from pg_settings where name = 'statement_timeout'"
    assert first.seconds(limit) == 30


@pytest.mark.parametrize("dr_dies", [False, True])
def test_a_stop_that_was_only_prepared_leaves_the_server_alone(servers: Cluster, first: Any, dr_dies: bool) -> None:
    first.prepare_stop()
    if dr_dies:  # then nobody kills what waits for its word
        waiting = first._directory._stopper._child
        waiting.stdin.close()
        assert waiting.wait(LIMIT) == 0
    first.close()
    assert first.situation() == "writable"
    assert first.obstacles("standby") == (), "it is not fenced"
    assert servers.first.writable()


def test_a_server_that_crashed_before_its_stop_was_not_stopped_in_order(servers: Cluster, first: Any) -> None:
    first.prepare_stop()
    servers.first.kill()
    with pytest.raises(Refused, match="was not shut down in order"):
        first.stop_and_fence()


def test_a_start_beside_what_is_left_of_a_dead_server_is_refused(servers: Cluster, first: Any) -> None:
    """A backend that outlives its postmaster could still write; so its coming back proves that there is none."""
    postmaster = servers.first.process()
    assert postmaster is not None
    left = postmaster.children()[0]
    left.suspend()
    postmaster.kill()
    servers.first.reap(postmaster)
    first.fence()
    with pytest.raises(Refused, match="db1 does not start"):
        first.wake()
    left.kill()
    servers.first.reap(left)
    first.wake()
    wait.until(servers.first.answers, LIMIT, "it answers")
    assert not servers.first.writable()


def test_a_server_that_recovers_behind_its_fence_is_told_from_one_that_answers_nothing(
    servers: Cluster, first: Any, tmp_path: Path
) -> None:
    with servers.first.slow_to_recover(tmp_path):
        first.halt()
        first.fence()
        first.wake()
        wait.until((tmp_path / "asked").exists, LIMIT, "it looks for what it has to replay")
        assert first.situation() == "recovering"
    wait.until(lambda: first.situation() == "standby", LIMIT, "it is a standby")


def test_signs_of_life_are_told_apart(servers: Cluster, first: Any) -> None:
    assert first.pulse() == "answers"
    first.stop()
    wait.until(lambda: servers.first.process() is None, LIMIT, "its end")
    assert first.pulse() == "refuses"


def test_a_claim_stays_until_it_is_taken_back(first: Any) -> None:
    assert first.claimed() == ""
    first.claim("run/step")
    assert first.claimed() == "run/step"
    first.disclaim()
    first.disclaim()
    assert first.claimed() == ""


def test_a_data_directory_that_is_not_there_is_unreachable(servers: Cluster) -> None:
    elsewhere = msgspec.structs.replace(servers.first.config, data="/no/such/directory")
    with opened(elsewhere, secrets=Secrets(servers.secrets)) as target:
        with pytest.raises(TargetUnreachable, match="pg_controldata"):
            target.ping()
        with pytest.raises(TargetUnreachable):
            target.fence()


def test_a_query_for_seconds_must_give_a_number(first: Any) -> None:
    assert first.seconds("select 1.5") == 1.5
    with pytest.raises(LookupError, match="not a number of seconds"):
        first.seconds("select 'x'")


@pytest.mark.parametrize("field", ["dsn", "replication"])
def test_no_password_stands_in_the_configuration(field: str) -> None:
    """Safety rule 13."""
    raw = {"type": "postgresql-server", "dsn": "host=a", "data": "/d", "programs": "/p", "replication": "host=a"}
    with pytest.raises(msgspec.ValidationError, match=f"{field}: it holds a password"):
        msgspec.convert({**raw, field: "host=a password=secret"}, PostgresqlServer)


def test_a_server_that_was_shut_down_and_has_not_ended_yet_was_not_started_by_somebody(
    servers: Cluster, first: Any
) -> None:
    """All is written, and its archiver still has work: then it is waited for before it is rewound."""
    with servers.first.server.connect() as primary:
        primary.execute("alter system set archive_mode = on")
        primary.execute("alter system set archive_command = 'sleep 1'")
    servers.first.stop()
    servers.first.start()
    servers.second.ask("select pg_promote()")
    with servers.first.server.connect() as primary:
        primary.execute("insert into writes values (1, 'nobody received it')")
        primary.execute("select pg_switch_wal()")
    first.stop()
    assert servers.first.process() is not None, "it has not ended yet"
    first.rewind(servers.second.config.replication)
    assert first.situation() == "fenced"
