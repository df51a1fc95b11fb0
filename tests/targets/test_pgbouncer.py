from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from dr.demo import wait
from dr.demo.postgres import Pair
from dr.targets.protocols import Share, TargetUnreachable
from dr.targets.transport.pgbouncer_ini import point
from tests.background import repeating
from tests.bouncer import Bouncer, bouncer
from tests.here import opened

WHERE = "select inet_server_port()"


@pytest.fixture
def running(postgres_pair: Pair) -> Iterator[Bouncer]:
    with bouncer(postgres_pair) as started:
        yield started


def port(client: psycopg.Connection[tuple[object, ...]]) -> object:
    row = client.execute(WHERE).fetchone()
    return row and row[0]


def test_clients_that_stay_connected_read_from_the_standby_after_the_shift_and_back(running: Bouncer) -> None:
    primary, standby = running.pair.primary.port, running.pair.standby.port
    with (
        opened(running.config("catalog_ro", "search_ro")) as router,
        running.connect("catalog_ro") as catalog,
        running.connect("search_ro") as search,
    ):
        assert router.shares() == (0, 50, 100)
        for share, ports in [
            (0, (primary, primary)),
            (50, (standby, primary)),
            (100, (standby, standby)),
            (0, (primary, primary)),
        ]:
            router.shift(Share(standby=share))
            assert router.share() == Share(standby=share)
            assert (port(catalog), port(search)) == ports


def test_a_client_that_reads_all_the_time_gets_no_error_from_a_shift(running: Bouncer) -> None:
    ports: list[object] = []
    with (
        running.connect("catalog_ro") as client,
        repeating(lambda: ports.append(port(client)), expected=psycopg.Error) as errors,
        opened(running.config("catalog_ro")) as router,
    ):
        for share, expected in [(100, running.pair.standby.port), (0, running.pair.primary.port)] * 3:
            router.shift(Share(standby=share))
            wait.until(lambda at=expected: ports[-1:] == [at] or bool(errors), 30, "it reads there")  # type: ignore[misc]
    assert not errors


def test_reads_leave_a_server_that_answers_no_login_any_more(fresh_postgres_pair: Pair) -> None:
    with bouncer(fresh_postgres_pair) as running, opened(running.config("catalog_ro")) as router:
        seen: list[object] = []

        def read() -> None:
            with running.connect("catalog_ro") as client:
                seen.append(port(client))

        def logging_in() -> bool:
            [pool] = [row for row in router._console.records("SHOW POOLS") if row["database"] == "catalog_ro"] or [{}]
            return bool(pool.get("sv_login"))

        fresh_postgres_pair.primary.freeze()
        with repeating(read, expected=psycopg.Error):
            try:
                wait.until(logging_in, 30, "a login hangs")
                router.shift(Share(standby=100))
                wait.until(lambda: fresh_postgres_pair.standby.port in seen, 60, "a client reads from the standby")
            finally:
                fresh_postgres_pair.primary.thaw()


def test_one_entry_moves_as_a_whole(running: Bouncer) -> None:
    with opened(running.config("search_ro")) as router:
        assert router.shares() == (0, 100)
        with pytest.raises(LookupError, match="25 percent cannot be set"):
            router.shift(Share(standby=25))
        router.shift(Share(standby=100))
        assert router.share() == Share(standby=100)


def test_nothing_but_addresses_changes_in_the_ini(running: Bouncer) -> None:
    before = running.ini.read_text()
    with opened(running.config("catalog_ro", "search_ro")) as router:
        router.shift(Share(standby=100))
        head, shop, tail = before.partition("; moved by dr:")
        moved = tail.replace(f"port={running.pair.primary.port}", f"port={running.pair.standby.port}")
        moved = moved.replace("host='127.0.0.1'", "host=127.0.0.1")
        assert running.ini.read_text() == head + shop + moved
        router.shift(Share(standby=0))
    assert running.ini.read_text() == before.replace("host='127.0.0.1'", "host=127.0.0.1")


def test_what_is_in_force_counts_not_what_the_ini_says(running: Bouncer) -> None:
    with opened(running.config("catalog_ro")) as router:
        running.ini.write_text(point(running.ini.read_text(), {"catalog_ro": router._config.standby_at}))
        assert router.share() == Share(standby=0)
        router.shift(Share(standby=100))  # the ini is so already; a crash had come before the reload
        assert router.share() == Share(standby=100)


def test_an_entry_that_is_not_there_or_points_elsewhere_is_named(running: Bouncer) -> None:
    with opened(running.config("catalog_ro", "missing")) as router:
        with pytest.raises(LookupError, match="PgBouncer's missing points to None"):
            router.ping()
        with pytest.raises(LookupError, match="has no entry missing"):
            router.shift(Share(standby=100))
    assert point(running.ini.read_text(), {}) == running.ini.read_text()


def test_a_pgbouncer_that_is_not_there_is_unreachable(running: Bouncer) -> None:
    closed = msgspec.structs.replace(running.config("catalog_ro"), console="127.0.0.1:1")
    with pytest.raises(TargetUnreachable, match="Connection refused"), opened(closed):
        pass


@pytest.mark.parametrize(
    "before,after",
    [
        ("a = host=h port=1\n", "a = host=new port=2\n"),
        ("a=dbname=x\r\n", "a=port=2 host=new dbname=x\r\n"),
        ("a = password='port=9 ''host=8' port = 1", "a = host=new password='port=9 ''host=8' port = 2"),
        ("; a = host=h port=1\na = host=h port=1", "; a = host=h port=1\na = host=new port=2"),
        ("a = host=h port=1\n[users]\na = port=1", "a = host=new port=2\n[users]\na = port=1"),
        ("ab = host=h port=1\na = hostaddr=h port=1", "ab = host=h port=1\na = host=new hostaddr=h port=2"),
    ],
)
def test_an_entry_is_found_as_pgbouncer_reads_it(before: str, after: str) -> None:
    assert point("[databases]\n" + before, {"a": "new:2"}) == "[databases]\n" + after
