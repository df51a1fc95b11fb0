import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString
from urllib.parse import quote

import msgspec
import psycopg
import pytest

from dr.demo import wait
from dr.demo.postgres import Pair, Server
from dr.targets.postgresql import Postgresql, feature_of, only_reads
from dr.targets.protocols import Connections, Overloaded, SessionMatch, TargetUnreachable
from tests.background import repeating
from tests.here import Secrets, opened

REFERENCE = "env:DSN"
FLOOD = SessionMatch(application="shop-web", feature="recommendations")


@contextmanager
def database(server: Server, **how: Any) -> Iterator[Any]:
    with opened(Postgresql(dsn=REFERENCE), secrets=Secrets({REFERENCE: server.dsn}), **how) as target:
        yield target


@contextmanager
def session(server: Server, application: str = "shop-web", **parameters: Any) -> Iterator[psycopg.Connection[Any]]:
    """A client's session of that application."""
    with psycopg.connect(server.dsn, application_name=application, autocommit=True, **parameters) as connection:
        yield connection


@pytest.fixture
def db(postgres_pair: Pair) -> Iterator[Any]:
    """The primary, opened as a target."""
    with database(postgres_pair.primary) as target:
        yield target


@pytest.fixture
def standby(postgres_pair: Pair) -> Iterator[Any]:
    """The standby, opened as a target."""
    with database(postgres_pair.standby) as target:
        yield target


def pid(connection: psycopg.Connection[Any]) -> int:
    return connection.info.backend_pid


def alive(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def running(connection: psycopg.Connection[Any], query: LiteralString) -> Iterator[None]:
    """The query runs in a thread until its session is ended."""

    def run() -> None:
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute(query)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


EVERYONE_ELSE = """
    select pid, to_char(backend_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), application_name
      from pg_stat_activity where pid <> pg_backend_pid()
"""


def pids(found: tuple[Any, ...]) -> set[int]:
    return {one.pid for one in found}


def test_sessions_are_told_apart_by_application_and_leading_comment(db: Any, postgres_pair: Pair) -> None:
    primary = postgres_pair.primary
    with session(primary) as flood, session(primary) as checkout, session(primary, "report") as report:
        flood.execute("/*feature='recommendations'*/ select 1")
        checkout.execute("/*feature='checkout'*/ select 1")
        report.execute("/*feature='recommendations'*/ select 1")
        assert pids(db.sessions(FLOOD)) == {pid(flood)}
        assert pids(db.sessions(SessionMatch(application="shop-web"))) == {pid(flood), pid(checkout)}
        assert pids(db.sessions(SessionMatch(feature="recommendations"))) == {pid(flood), pid(report)}
        [seen] = db.sessions(FLOOD)
        assert (seen.user, seen.application, seen.feature, seen.state) == (
            "postgres", "shop-web", "recommendations", "idle",
        )  # fmt: skip


def test_the_age_must_fit_as_well(db: Any, postgres_pair: Pair) -> None:
    with session(postgres_pair.primary, "aged") as client:
        client.execute("select 1")
        assert not db.sessions(SessionMatch(application="aged", older_than=3600))
        [seen] = db.sessions(SessionMatch(application="aged"))
        assert pids(db.sessions(SessionMatch(application="aged", older_than=seen.age))) == {pid(client)}


@pytest.mark.parametrize(
    "query,feature",
    [
        ("/*feature='recommendations'*/ select 1", "recommendations"),
        ("  /* feature='a b' */select 1", "a b"),
        ("/*action='list',feature='x',route='%2Fhome'*/ select 1", "x"),
        ("/*feature='x%27%3B%20drop%20table%20t'*/ select 1", "x'; drop table t"),
        (r"/*feature='it\'s'*/ select 1", "it's"),
        ("select 1 /*feature='x'*/", None),
        ("select '/*feature=''x''*/'", None),
        ("/*other='feature=''x'''*/ select 1", None),
        ("/*nofeature='x'*/ select 1", None),
        ("-- /*feature='x'*/\nselect 1", None),
        ("/*feature='cut off by track_activity_query_si", None),
        ("/*hello*/ /*feature='x'*/ select 1", None),
        ("", None),
    ],
)
def test_only_the_leading_comment_names_a_feature(query: str, feature: str | None) -> None:
    assert feature_of(query) == feature


@pytest.mark.parametrize(
    "name", ["x' or '1'='1", "x'; select pg_terminate_backend(pid) from pg_stat_activity; --", "%s", "%"]
)
def test_sql_in_a_name_is_a_value(db: Any, postgres_pair: Pair, name: str) -> None:
    with session(postgres_pair.primary) as innocent:
        innocent.execute("/*feature='x'*/ select 1")
        assert db.sessions(SessionMatch(feature=name)) == ()
        assert db.sessions(SessionMatch(application=name)) == ()
        assert db.reads_seen(name, 0.0) == 0
        assert alive(innocent)


def test_terminating_ends_those_sessions_and_no_other(db: Any, postgres_pair: Pair) -> None:
    with (
        session(postgres_pair.primary) as flood,
        session(postgres_pair.primary) as checkout,
        running(flood, "/*feature='recommendations'*/ select pg_sleep(99)"),
    ):
        wait.until(lambda: bool(db.sessions(FLOOD)), 30, "the query runs")
        assert db.terminate(db.sessions(FLOOD)) == 1
        wait.until(lambda: not db.sessions(FLOOD), 30, "it is gone")
        assert alive(checkout)


def test_a_reused_pid_is_not_terminated(db: Any, postgres_pair: Pair) -> None:
    with session(postgres_pair.primary, "young") as young:
        [seen] = db.sessions(SessionMatch(application="young"))
        before = msgspec.structs.replace(seen, started="2023-05-15T14:00:00.000000Z")
        assert db.terminate((before,)) == 0
        assert alive(young)


def test_dr_and_replication_are_never_seen_nor_terminated(db: Any, postgres_pair: Pair) -> None:
    primary = postgres_pair.primary
    with database(primary, label="dr:other:step:1") as other, session(primary) as postgres:
        rows = postgres.execute(EVERYONE_ELSE).fetchall()
        assert {"standby", "dr:other:step:1"} <= {row[2] for row in rows}
        [mine] = db.sessions(SessionMatch(application="shop-web"))
        assert pids(db.sessions(SessionMatch())) == {pid(postgres)}
        assert db.sessions(SessionMatch(application="standby")) == ()
        victims = tuple(msgspec.structs.replace(mine, pid=row[0], started=row[1]) for row in rows)
        assert db.terminate(victims) == 0
        other.ping()
        assert postgres.execute("select count(*) from pg_stat_replication").fetchone() == (1,)


def test_sessions_of_another_database_are_left_alone(db: Any, postgres_pair: Pair) -> None:
    with session(postgres_pair.primary, "elsewhere", dbname="template1"):
        assert db.sessions(SessionMatch(application="elsewhere")) == ()


@pytest.fixture
def blind(postgres_pair: Pair) -> Iterator[str]:
    """The connection string of a role that may not see what others do."""
    with postgres_pair.primary.connect() as postgres:
        postgres.execute("create role blind login password 'blind'")
        yield postgres_pair.primary.dsn.replace(postgres_pair.primary.password, "blind").replace(
            "postgres ", "blind ", 1
        )
        postgres.execute("drop role blind")


def test_what_may_not_be_seen_is_never_taken_for_nothing(postgres_pair: Pair, blind: str) -> None:
    config = Postgresql(dsn=blind.replace("password=blind", ""), password="env:PASSWORD")
    with opened(config, secrets=Secrets({"env:PASSWORD": "blind"})) as db, session(postgres_pair.primary):
        for match in (FLOOD, SessionMatch(feature="recommendations"), SessionMatch(application="shop-web")):
            with pytest.raises(TargetUnreachable, match="needs pg_read_all_stats"):
                db.sessions(match)
        assert db.sessions(SessionMatch(application="nobody")) == ()


def test_a_session_that_reports_nothing_is_never_taken_for_idle(db: Any, postgres_pair: Pair) -> None:
    hidden = session(postgres_pair.primary, options="-c track_activities=off")
    with hidden, pytest.raises(TargetUnreachable, match="track_activities must be on"):
        db.sessions(FLOOD)


@pytest.mark.parametrize(
    "query,value",
    [
        ("select 5", 5),
        ("select 2.5::numeric", 2.5),
        ("select true", True),
        ("select 'x'", "x"),
        ("select null", None),
        ("select 1 where false", None),
        ("select 'NaN'::float8", "nan"),
        ("select date '2023-05-15'", "2023-05-15"),
        ("select generate_series(1, 10000000)", 1),
        ("select '50%' where 'x' like '%'", "50%"),
        ("show server_encoding", "UTF8"),
    ],
)
def test_a_scalar_is_a_json_value(db: Any, query: str, value: object) -> None:
    seen = db.scalar(query)
    assert (type(seen), seen) == (type(value), value)


@pytest.mark.parametrize(
    "query,said",
    [
        ("create table harm (x int)", "read-only transaction"),
        ("select 1; create table harm (x int)", "multiple commands"),
        ("commit; create table harm (x int)", "multiple commands"),
        ("select * from missing", 'relation "missing" does not exist'),
        ("", "EMPTY_QUERY"),
        ("begin", "didn't produce a result"),
    ],
)
def test_a_query_that_would_change_something_is_refused(db: Any, query: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        db.scalar(query)
    assert db.scalar("select to_regclass('harm')") is None
    assert db.scalar("select current_setting('transaction_read_only')") == "on"


def test_an_idle_pair_has_no_lag(db: Any, standby: Any) -> None:
    assert (db.is_standby(), standby.is_standby()) == (False, True)
    wait.until(lambda: standby.lag_behind(db).bytes == 0, 30, "all is replayed")
    assert standby.lag_behind(db).seconds < 1


def test_a_standby_that_stops_replaying_lags_in_bytes_and_seconds(fresh_postgres_pair: Pair) -> None:
    pair = fresh_postgres_pair
    with (
        database(pair.primary) as primary,
        database(pair.standby) as standby,
        pair.standby.connect() as control,
        pair.primary.connect() as writer,
    ):
        writer.execute("create table filler as select 1 as number")
        wait.until(lambda: standby.lag_behind(primary).bytes == 0, 30, "all is replayed")
        control.execute("select pg_wal_replay_pause()")
        writer.execute("insert into filler select generate_series(1, 10000)")
        first = standby.lag_behind(primary)
        second = standby.lag_behind(primary)
        assert first.bytes > 100_000
        assert second.seconds > first.seconds > 0
        control.execute("select pg_wal_replay_resume()")
        wait.until(lambda: standby.lag_behind(primary).bytes == 0, 30, "it has caught up")


def test_a_server_that_is_no_standby_of_that_primary_has_no_lag_to_tell(
    postgres_pair: Pair, fresh_postgres_pair: Pair
) -> None:
    with database(postgres_pair.primary) as primary, database(fresh_postgres_pair.standby) as stranger:
        with pytest.raises(LookupError, match="is not a standby"):
            primary.lag_behind(primary)
        with pytest.raises(LookupError, match="of another primary"):
            stranger.lag_behind(primary)


def test_reads_are_counted_on_the_server_that_ran_them(db: Any, standby: Any, postgres_pair: Pair) -> None:
    with (
        session(postgres_pair.standby, "shop-reads") as reader,
        session(postgres_pair.primary, "shop-reads") as idle,
    ):
        idle.execute("select 'long ago'")
        with repeating(lambda: reader.execute("select 1")):
            assert standby.reads_seen("shop-reads", 0.2) > 1
            assert db.reads_seen("shop-reads", 0.2) == 0
            assert standby.reads_seen("shop-writes", 0.0) == 0


@pytest.mark.parametrize(
    "query,reads",
    [
        ("select 1", True),
        ("/*feature='home'*/ -- and more\n  (SELECT 1)", True),
        ("with top as (select 1) select * from top", True),
        ("table products", True),
        ("/*select*/ update products set stock = 0", False),
        ("with taken as (update products set stock = 0 returning id) insert into orders select id from taken", False),
        ("select id from products for update", False),
        ("insert into orders select 1", False),
        ("begin", False),
        ("set application_name = 'x'", False),
        ("/* never closed select 1", False),
        ("/**/" * 5000 + "x", False),
        ("", False),
    ],
)
def test_a_query_counts_as_a_read_by_its_text(query: str, reads: bool) -> None:
    assert only_reads(query) is reads


def test_the_label_is_the_sessions_application_name(postgres_pair: Pair) -> None:
    with database(postgres_pair.primary, label="dr:r1:end-the-flood:2") as db:
        assert db.scalar("select current_setting('application_name')") == "dr:r1:end-the-flood:2"


CALLS: tuple[Callable[[Any], object], ...] = (
    lambda db: db.ping(),
    lambda db: db.scalar("select 1"),
    lambda db: db.sessions(SessionMatch()),
    lambda db: db.reads_seen("x", 0.1),
)


def ends(call: Callable[[], object]) -> BaseException | None:
    """What the call raises; a failure if it does not come back at all."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except TargetUnreachable as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the call hangs"
    return raised[0]


def test_a_frozen_server_holds_no_call_beyond_its_deadline(fresh_postgres_pair: Pair) -> None:
    primary = fresh_postgres_pair.primary
    for call in CALLS:
        with database(primary, timeout=0.3) as db:
            primary.freeze()
            try:
                assert isinstance(ends(lambda call=call, db=db: call(db)), TargetUnreachable)  # type: ignore[misc]
                assert isinstance(ends(db.ping), TargetUnreachable)  # what comes late answers no later question
            finally:
                primary.thaw()
    primary.freeze()
    try:
        assert isinstance(ends(lambda: database(primary, timeout=0.1).__enter__()), TargetUnreachable)
    finally:
        primary.thaw()


def test_threads_take_turns_on_one_connection(db: Any) -> None:
    seen: list[object] = []
    threads = [
        threading.Thread(target=lambda n=n: seen.extend(db.scalar(f"select {n}") for _ in range(20))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, seen)) == sorted(str(n) for n in range(4) for _ in range(20))


BAIT = "hunter 2/%+"


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=127.0.0.1 port=1 user=postgres password='{BAIT}'",
        f"postgresql://postgres:{quote(BAIT, safe='')}@127.0.0.1:1/postgres",
        f"host=127.0.0.1 port=1 password={BAIT}",
        f"postgresql://postgres:{BAIT}@127.0.0.1:1/postgres",
    ],
)
def test_no_error_says_the_password(dsn: str) -> None:
    secrets = Secrets({REFERENCE: dsn})
    with pytest.raises(TargetUnreachable) as refused, opened(Postgresql(dsn=REFERENCE), secrets=secrets):
        pass
    assert "hunter" not in "".join(traceback.format_exception(refused.value))


def test_a_refused_password_is_not_said_either(postgres_pair: Pair) -> None:
    dsn = postgres_pair.primary.dsn.replace(postgres_pair.primary.password, "hunter2")
    target = opened(Postgresql(dsn=REFERENCE), secrets=Secrets({REFERENCE: dsn}))
    with pytest.raises(TargetUnreachable, match="password authentication failed") as refused, target:
        pass
    assert "hunter2" not in str(refused.value)


def test_a_password_inside_a_connection_string_is_masked_in_every_form() -> None:
    secrets = Secrets({REFERENCE: f"postgresql://u:{quote(BAIT, safe='')}@127.0.0.1:1/postgres"})
    with pytest.raises(TargetUnreachable), opened(Postgresql(dsn=REFERENCE), secrets=secrets):
        pass
    assert {BAIT, quote(BAIT, safe="")} <= secrets.masked


@pytest.mark.parametrize(
    "dsn",
    [
        "host=h password=hunter2",
        "host=h password = 'hunter2'",
        "postgresql://u:hunter2@h/db",
        "host=h sslpassword=hunter2",
    ],
)
def test_a_password_written_into_the_configuration_is_refused_and_not_said(dsn: str) -> None:
    with pytest.raises(msgspec.ValidationError, match='put that into `password = "env:NAME"`') as refused:
        msgspec.convert({"type": "postgresql", "dsn": dsn}, Postgresql)
    assert "hunter2" not in str(refused.value)


def test_a_literal_where_a_reference_belongs_is_refused_and_not_said() -> None:
    with pytest.raises(msgspec.ValidationError, match="password: write where the secret stands, env:NAME") as refused:
        msgspec.convert({"type": "postgresql", "dsn": "host=h", "password": "hunter2"}, Postgresql)
    assert "hunter2" not in str(refused.value)


def test_connections_are_counted_with_those_that_are_reserved_taken_off(fresh_postgres_pair: Pair) -> None:
    with fresh_postgres_pair.primary.connect() as postgres:
        postgres.execute("create role blind login password 'blind'")
        postgres.execute("alter system set reserved_connections = 5")
    fresh_postgres_pair.primary.stop()
    fresh_postgres_pair.primary.start()
    blind = fresh_postgres_pair.primary.dsn.replace("user=postgres", "user=blind").replace(
        f"password={fresh_postgres_pair.primary.password}", "password=blind"
    )
    with session(fresh_postgres_pair.primary), session(fresh_postgres_pair.primary, "shop-reads"):
        with database(fresh_postgres_pair.primary) as seeing:
            seen = seeing.connections("shop-web")
        assert seen == Connections(limit=100 - 3 - 5, used=3, application=1)
        assert seen.free == 89
        with opened(Postgresql(dsn=REFERENCE), secrets=Secrets({REFERENCE: blind})) as target:
            wait.until(lambda: target.connections("shop-web") == seen, 30, "a role that sees less counts the same")


def test_a_standby_receives_until_its_primary_is_gone(fresh_postgres_pair: Pair) -> None:
    with database(fresh_postgres_pair.primary) as primary, database(fresh_postgres_pair.standby) as standby:
        assert standby.receives()
        assert not primary.receives()
        fresh_postgres_pair.primary.kill()
        wait.until(lambda: not standby.receives(), 30, "the standby has lost its primary")


def test_a_server_without_a_free_connection_is_told_from_one_that_is_gone(fresh_postgres_pair: Pair) -> None:
    server = fresh_postgres_pair.primary
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(session(server))
        with pytest.raises(Overloaded, match="too many clients"), database(server):
            pass
    with server.connect() as postgres:
        postgres.execute("create role narrow login password 'narrow' connection limit 0")
    narrow = server.dsn.replace("user=postgres", "user=narrow").replace(f"={server.password}", "=narrow")
    with (
        pytest.raises(Overloaded, match="too many connections for role"),
        opened(Postgresql(dsn=REFERENCE), secrets=Secrets({REFERENCE: narrow})),
    ):
        pass
    server.kill()
    with pytest.raises(TargetUnreachable) as gone, database(server):
        pass
    assert not isinstance(gone.value, Overloaded)
