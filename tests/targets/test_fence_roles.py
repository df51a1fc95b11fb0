"""Roles kept out of a real server: those that may write are, those that are kept are not, and nobody slips through."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec
import psutil
import psycopg
import pytest

from dr.demo import wait
from dr.targets.fence_roles import FenceRoles
from dr.targets.protocols import Refused, TargetUnreachable
from tests.cluster import LIMIT, Cluster, cluster
from tests.here import Secrets, opened

ROLES = ("shop", 'O\'Brien "%s"', "keeper")


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as started:
        with started.first.server.connect() as primary:
            for role in ROLES:
                name = psycopg.sql.Identifier(role)
                primary.execute(psycopg.sql.SQL("create role {} login superuser password 'pw'").format(name))
            primary.execute("create role never nologin")
        yield started


@pytest.fixture(autouse=True)
def let_in(servers: Cluster) -> Iterator[None]:
    yield
    with opened(servers.first.config, secrets=Secrets(servers.secrets)) as server:
        server.promote()


def fence(servers: Cluster, name: str = "db1", *keep: str) -> AbstractContextManager[Any]:
    how = {"secrets": Secrets(servers.secrets), "targets": servers.targets()}
    return opened(FenceRoles(server=name, keep=keep), name="logins", **how)


def session(servers: Cluster, role: str) -> psycopg.Connection[Any]:
    server = servers.first.server
    return psycopg.connect(
        host="127.0.0.1", port=server.port, user=role, password="pw", dbname="postgres", autocommit=True
    )  # fmt: skip


def test_an_application_that_uses_the_role_of_dr_is_not_taken_for_dr(servers: Cluster) -> None:
    """It cannot be kept out, so while it comes back there is no proof."""
    with fence(servers) as logins:
        logins.fence()
        with servers.first.server.connect() as application:
            assert not logins.fenced()
            logins.fence()
            with pytest.raises(psycopg.OperationalError):
                application.execute("insert into writes values (1, 'late')")
        assert logins.fenced()


def begun_login(servers: Cluster) -> socket.socket:
    """A login of shop that has said all but its password."""
    login = socket.create_connection(("127.0.0.1", servers.first.server.port))
    words = b"user\0shop\0database\0postgres\0\0"
    login.sendall(struct.pack("!II", len(words) + 8, 3 << 16) + words)
    assert login.recv(1) == b"R", "it asks for the password"
    return login


def test_who_may_write_is_put_out_and_kept_out_and_who_is_kept_stays(servers: Cluster) -> None:
    with ExitStack() as sessions, fence(servers, "db1", "keeper") as logins:
        intruders = [sessions.enter_context(session(servers, role)) for role in ROLES[:2]]
        kept = sessions.enter_context(session(servers, "keeper"))
        assert not logins.fenced()
        logins.fence()
        logins.fence()
        assert logins.fenced()
        for intruder in intruders:
            with pytest.raises(psycopg.OperationalError):
                intruder.execute("insert into writes values (1, 'late')")
        assert kept.execute("select 1").fetchone() == (1,)
    for role in ROLES[:2]:
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            session(servers, role)
    session(servers, "keeper").close()


def test_a_login_that_has_passed_and_is_not_to_be_seen_yet_is_no_proof(servers: Cluster) -> None:
    """It read its role before that was changed: here one that has begun, and says nothing more for now."""
    with begun_login(servers) as login, fence(servers, "db1", *ROLES) as logins:
        assert not logins.fenced()
        logins.fence()
        assert logins.fenced()
        while login.recv(4096):
            pass


def test_a_login_that_comes_to_nothing_is_waited_for(servers: Cluster) -> None:
    """Clients try again all the time; so there is always one, and what counts is how those of one moment end."""
    with fence(servers) as logins:
        logins.fence()
        with begun_login(servers) as login:
            threading.Timer(0.2, login.shutdown, [socket.SHUT_RDWR]).start()
            assert logins.fenced()


def test_a_session_that_does_not_end_is_told_of_and_no_fence(servers: Cluster) -> None:
    with session(servers, "shop") as stuck:
        backend = psutil.Process(stuck.info.backend_pid)
        backend.suspend()
        told = pytest.raises(Refused, match=r"logins: db1 could be written to by .*a session of shop \(pid \d+\);")
        try:
            with fence(servers) as logins, told:
                logins.keep_within(1.0)
                logins.fence()
            with fence(servers) as logins:
                assert not logins.fenced()
        finally:
            backend.resume()


def test_the_standby_gets_the_fence_too_and_whoever_is_promoted_lets_in_all_that_it_kept_out(servers: Cluster) -> None:
    logins_there = "select string_agg(rolname, ',' order by rolname) from pg_roles where rolcanlogin"
    before = servers.second.ask(logins_there)
    with fence(servers) as logins:
        logins.fence()
    wait.until(lambda: servers.second.ask(logins_there) == "postgres", LIMIT, "the standby is given it")
    with opened(servers.first.config, secrets=Secrets(servers.secrets)) as server:
        server.promote()
        server.promote()
    wait.until(lambda: servers.second.ask(logins_there) == before, LIMIT, "and that it was taken away")
    assert servers.first.ask("select count(*) from pg_db_role_setting") == 0


def test_what_was_written_before_has_arrived_at_the_standby_when_the_fence_is_there(servers: Cluster) -> None:
    receiver = psutil.Process(servers.second.ask("select pid from pg_stat_wal_receiver"))
    with session(servers, "shop") as client, fence(servers) as logins:
        fencing = threading.Thread(target=logins.fence)
        receiver.suspend()
        try:
            client.execute("insert into writes values (1, 'late')")
            written = servers.first.ask("select pg_current_wal_flush_lsn()::text")
            fencing.start()
            fencing.join(0.5)  # it cannot end yet
            waits = fencing.is_alive()
        finally:
            receiver.resume()
            fencing.join()
        assert waits
        assert servers.second.ask(f"select pg_last_wal_receive_lsn() >= '{written}'")


def test_a_server_that_does_not_answer_proves_nothing(servers: Cluster) -> None:
    servers.first.freeze()
    try:
        with fence(servers) as logins:
            logins.keep_within(0.5)
            with pytest.raises(TargetUnreachable):
                logins.fenced()
    finally:
        servers.first.thaw()


def test_a_role_without_privileges_fences_with_those_that_the_docs_name_and_says_which_one_it_lacks(
    servers: Cluster,
) -> None:
    config = msgspec.structs.replace(
        servers.first.config, dsn=servers.first.config.dsn.replace("user=postgres", "user=plain")
    )
    agent = FenceRoles(server="db1", keep=("postgres", *ROLES))
    how = {"name": "logins", "secrets": Secrets(servers.secrets), "targets": {"db1": config}}
    with servers.first.server.connect() as primary:
        primary.execute(f"create role plain login createrole password '{servers.first.server.password}'")
        primary.execute("create role victim login")
        primary.execute("grant victim to plain with admin option")
        primary.execute("grant pg_signal_backend to plain")
        with (
            opened(agent, **how) as logins,
            pytest.raises(Refused, match=r'denied to set parameter "dr\.login'),
        ):
            logins.fence()
        primary.execute("grant set on parameter dr.login to plain")
    with opened(agent, **how) as logins:
        logins.fence()
        assert logins.fenced()
    with opened(config, secrets=Secrets(servers.secrets)) as server:
        server.promote()
    assert servers.first.ask("select rolcanlogin from pg_roles where rolname = 'victim'")
