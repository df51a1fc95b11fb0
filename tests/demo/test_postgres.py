import os
import socket
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from dr.demo import account, process_tree, wait
from dr.demo.postgres import Pair, Server, pair, primary_in
from dr.demo.workspace import CommandFailed, Workspace

# Every way of starting PostgreSQL that the present user has.
ROOT = os.geteuid() == 0
WAYS = ["namespace", "unprivileged"] if ROOT else ["ordinary"]


@pytest.fixture
def primary() -> Iterator[Server]:
    with Workspace() as workspace:
        yield primary_in(workspace)


def value(server: Server, query: str) -> object:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return row and row[0]


def change(server: Server, statement: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(statement)


def tree(server: Server) -> list[psutil.Process]:
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


@pytest.mark.parametrize("way", WAYS)
def test_a_row_of_the_primary_reaches_the_standby(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "unprivileged":
        monkeypatch.setattr(account, "NAMESPACE", ("false",))
    with pair() as (primary, standby):
        change(primary, "create table told as select 42 as number")
        told = "select to_regclass('told') is not null"
        wait.until(lambda: value(standby, told) is True, 30, "the table is on the standby")
        assert value(standby, "select number from told") == 42
        assert value(standby, "select pg_is_in_recovery()")
        user = psutil.Process(primary.pid).username()
    assert user == ("nobody" if way == "unprivileged" else psutil.Process().username())


def test_another_user_without_the_password_is_refused(postgres_pair: Pair) -> None:
    for server in postgres_pair:
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres")


def test_two_pairs_side_by_side_are_four_servers(postgres_pair: Pair, fresh_postgres_pair: Pair) -> None:
    servers = [*postgres_pair, *fresh_postgres_pair]
    identities = {value(server, "select system_identifier from pg_control_system()") for server in servers}
    assert len({server.port for server in servers}) == 4
    assert len(identities) == 2


def test_committed_rows_survive_a_stop_and_a_crash(primary: Server) -> None:
    change(primary, "create table kept (number int)")
    for number, end in enumerate((primary.stop, primary.kill)):
        change(primary, f"insert into kept values ({number})")
        processes = tree(primary)
        end()
        assert all(process_tree.ended(process) for process in processes)
        primary.start()
    assert value(primary, "select array_agg(number order by number) from kept") == [0, 1]


def test_a_frozen_server_goes_on_where_it_was(primary: Server) -> None:
    with psycopg.connect(primary.dsn, autocommit=True) as connection:
        connection.execute("select set_config('demo.mark', 'before', false)")
        primary.freeze()
        assert {process.status() for process in tree(primary)} == {psutil.STATUS_STOPPED}
        primary.thaw()
        row = connection.execute("select current_setting('demo.mark')").fetchone()
    assert row == ("before",)


def test_shared_memory_is_where_it_goes_with_the_process(postgres_pair: Pair) -> None:
    own = str(postgres_pair.primary.data)  # may lie in memory itself
    for process in tree(postgres_pair.primary):
        paths = [part.path for part in process.memory_maps()]
        assert not [path for path in paths if path.startswith("/dev/shm") and not path.startswith(own)]


def test_a_port_taken_meanwhile_is_replaced(primary: Server) -> None:
    primary.stop()
    with socket.create_server(("127.0.0.1", 0)) as thief:
        primary.port = thief.getsockname()[1]
        primary.start()
        assert primary.port != thief.getsockname()[1]
    assert value(primary, "select 1") == 1


def test_a_server_that_cannot_start_says_why(primary: Server) -> None:
    primary.stop()
    with (primary.data / "postgresql.conf").open("a") as configuration:
        configuration.write("work_mem = plenty\n")
    with pytest.raises(CommandFailed, match='invalid value for parameter "work_mem"'):
        primary.start()
