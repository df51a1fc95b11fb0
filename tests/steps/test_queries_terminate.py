import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import msgspec
import psycopg
import pytest

from dr.core.duration import Duration, decode_hook
from dr.core.step import InPlace, NotInPlace, OutOfTime, StopRequested
from dr.demo import wait
from dr.demo.postgres import Pair
from dr.steps.queries_terminate import QueriesTerminate
from dr.targets.postgresql import Postgresql
from tests.here import World

LOOPING = "/*feature='recommendations'*/ select 1"
SLEEPING = "/*feature='recommendations'*/ select pg_sleep(99)"


@pytest.fixture
def world(postgres_pair: Pair) -> World:
    return World({"primary": Postgresql(dsn="env:DSN")}, {"env:DSN": postgres_pair.primary.dsn})


def step(**changes: Any) -> QueriesTerminate:
    return QueriesTerminate(
        **{"database": "primary", "feature": "recommendations", "gone_for": Duration(0.1), **changes}
    )


def seen(world: World) -> set[int]:
    """Process ids of the sessions that would be ended."""
    with world.look() as here:
        sessions: Any = step().preview(here)["sessions"]
        return {session["pid"] for session in sessions}


class Client:
    """A backend of the application; its query runs, once or in a loop, until it is ended or the test is over."""

    def __init__(self, pair: Pair, query: LiteralString, *, again: bool = False, application: str = "shop") -> None:
        dsn = f"{pair.primary.dsn} application_name={application}"
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.was_ended = False
        self.has_run = threading.Event()
        self._query = query
        self._again = again
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def _run(self) -> None:
        try:
            self.connection.execute(self._query)
            self.has_run.set()
            while self._again and not self._over.wait(0.001):
                self.connection.execute(self._query)
        except psycopg.OperationalError:
            self.was_ended = self.connection.broken

    def close(self) -> None:
        self._over.set()
        if not self.connection.closed:
            self.connection.cancel_safe()
        self._thread.join(30)
        self.connection.close()


@contextmanager
def clients(*started: Client) -> Iterator[tuple[Client, ...]]:
    try:
        yield started
    finally:
        for client in started:
            client.close()


def test_a_runaway_query_is_ended_and_its_innocent_neighbour_is_not(world: World, postgres_pair: Pair) -> None:
    flood = Client(postgres_pair, SLEEPING)
    innocent = Client(postgres_pair, "/*feature='checkout'*/ select pg_sleep(99)")
    with clients(flood, innocent):
        pid = flood.pid
        wait.until(lambda: seen(world) == {flood.pid}, 30, "the flood is seen")
        with world.act() as here:
            evidence = step().apply(here)
        assert evidence["told_to_end"] == 1
        assert evidence["sessions"][0]["pid"] == pid  # type: ignore[index]
        with world.act() as here:
            assert isinstance(step().observe(here), InPlace)
        wait.until(lambda: flood.was_ended, 30, "the client has noticed")
        assert not innocent.was_ended


def test_a_loop_of_short_queries_is_seen_although_it_is_idle_at_most_looks(world: World, postgres_pair: Pair) -> None:
    with clients(Client(postgres_pair, LOOPING, again=True)) as (loop,):
        with world.look() as here:
            before = step(gone_for=Duration(30)).observe(here)
        assert isinstance(before, NotInPlace)
        assert before.evidence["still_there"] == 1

        def attempt() -> bool:  # on a busy machine the loop may rest for longer than an attempt looks
            with world.act() as here:
                step().apply(here)
            return loop.was_ended

        wait.until(attempt, 30, "the loop is ended")


def test_a_pooled_session_that_is_only_idle_is_left_to_its_next_user(world: World, postgres_pair: Pair) -> None:
    with clients(Client(postgres_pair, LOOPING)) as (pooled,):
        assert pooled.has_run.wait(30)
        with world.look() as here:
            assert isinstance(step().observe(here), InPlace)
        assert not pooled.was_ended


def test_only_what_is_older_than_said_is_ended(world: World, postgres_pair: Pair) -> None:
    with clients(Client(postgres_pair, SLEEPING)) as (flood,):
        wait.until(lambda: seen(world) == {flood.pid}, 30, "the flood is seen")
        with world.look() as here:
            assert isinstance(step(older_than=Duration(3600)).observe(here), InPlace)


def test_the_preview_names_what_would_be_ended_and_ends_nothing(world: World, postgres_pair: Pair) -> None:
    with clients(*(Client(postgres_pair, SLEEPING, application="shop-web") for _ in range(25))):
        only = step(application="shop-web", feature=None)
        with world.look() as here:
            wait.until(lambda: only.preview(here)["would_end"] == 25, 30, "all are there")
            listed = only.preview(here)
        assert len(listed["sessions"]) == 20  # type: ignore[arg-type]
        assert msgspec.json.encode(listed)
        assert b"pg_sleep" not in msgspec.json.encode(listed)
        with world.look() as here:
            assert only.preview(here)["would_end"] == 25


def test_a_look_that_finds_none_takes_the_hold_time_and_hears_a_stop(world: World) -> None:
    patient = step(gone_for=Duration(3600))
    with world.look() as here:
        here.stop.set()
        with pytest.raises(StopRequested):
            patient.observe(here)
    with world.look(timeout=0.2) as here, pytest.raises(OutOfTime):
        patient.observe(here)


def test_sessions_that_keep_coming_do_not_outlast_the_attempt(world: World, postgres_pair: Pair) -> None:
    over = threading.Event()

    def reconnect() -> None:
        while not over.is_set():
            with clients(Client(postgres_pair, SLEEPING)) as (client,):
                wait.until(lambda client=client: client.was_ended or over.is_set(), 30, "it is ended")  # type: ignore[misc]

    thread = threading.Thread(target=reconnect)
    thread.start()
    try:
        wait.until(lambda: bool(seen(world)), 30, "the first is there")
        with world.act(timeout=1) as here:
            evidence = step().apply(here)
        assert evidence["told_to_end"] > 1  # type: ignore[operator]
        with world.act() as here:
            wait.until(lambda: isinstance(step(gone_for=Duration(5)).observe(here), NotInPlace), 30, "it is back")
    finally:
        over.set()
        thread.join(30)


def test_without_application_and_feature_it_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="without them every session would be ended"):
        msgspec.convert({"database": "primary", "states": ["active"]}, QueriesTerminate, dec_hook=decode_hook)


@pytest.mark.parametrize(
    "written",
    [
        {"feature": ""},
        {"application": "x" * 64},  # PostgreSQL keeps 63 bytes: it would match nothing, and nothing is "in place"
        {"feature": "x", "states": ["activ"]},
        {"feature": "x", "states": []},
    ],
)
def test_what_could_never_match_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"database": "primary", **written}, QueriesTerminate, dec_hook=decode_hook)


def test_the_summary_says_what_ends_where() -> None:
    assert step().summary() == ("End queries of the feature 'recommendations' on primary, until none is seen for 100ms")
    assert step(feature=None, application="shop", older_than=Duration(30)).summary() == (
        "End sessions of the application 'shop', running for 30s or longer on primary, until none is seen for 100ms"
    )
