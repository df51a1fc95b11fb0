import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from dr.demo import wait
from dr.demo.postgres import Pair
from dr.targets.haproxy import HaproxyReads, with_servers
from dr.targets.protocols import Share, TargetUnreachable
from tests.haproxy import Haproxy, haproxy
from tests.here import opened

ALL, NONE = Share(standby=100), Share(standby=0)


@pytest.fixture
def running(postgres_pair: Pair) -> Iterator[Haproxy]:
    with haproxy(postgres_pair) as started:
        yield started


def port(client: psycopg.Connection[tuple[object, ...]]) -> object:
    row = client.execute("select inet_server_port()").fetchone()
    return row and row[0]


def ports(running: Haproxy, connections: int) -> list[object]:
    """Which server each of so many new connections reached."""
    found = []
    for _ in range(connections):
        with running.connect() as client:
            found.append(port(client))
    return found


def status(running: Haproxy, server: str) -> str:
    lines = running.ask("show stat reads 4 -1").splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
    return next(row["status"] for row in rows if row["svname"] == server)


def test_of_100_connections_as_many_reach_the_standby_as_were_sent_there(running: Haproxy) -> None:
    with opened(running.config()) as router:
        for percent in (25, 1, 99):
            router.shift(Share(standby=percent))
            assert abs(ports(running, 100).count(running.pair.standby.port) - percent) <= 1


def test_over_tcp_it_is_the_same(running: Haproxy) -> None:
    with opened(running.config(socket=None, address=f"127.0.0.1:{running.api}")) as router:
        router.shift(ALL)
        assert router.share() == ALL
    assert set(ports(running, 4)) == {running.pair.standby.port}


def test_a_session_stays_where_it_is_unless_sessions_are_to_be_ended(running: Haproxy) -> None:
    with running.connect() as client:
        with opened(running.config()) as router:
            router.shift(ALL)
        assert port(client) == running.pair.primary.port
        with opened(running.config(end_sessions=True)) as router:
            router.shift(ALL)  # again: a crash may have come before the sessions were ended
        with pytest.raises(psycopg.OperationalError):
            port(client)
    assert ports(running, 2) == [running.pair.standby.port] * 2


def test_a_stage_in_between_ends_no_session(running: Haproxy) -> None:
    with running.connect() as client, opened(running.config(end_sessions=True)) as router:
        router.shift(Share(standby=99))
        assert port(client) == running.pair.primary.port


@pytest.mark.parametrize("left,seen", [("weight", "UP"), ("drain", "DRAIN"), ("maint", "MAINT")])
def test_a_server_that_gets_nothing_is_left_as_wanted_and_comes_back(running: Haproxy, left: str, seen: str) -> None:
    with opened(running.config(left=left)) as router:
        for share, server in [(ALL, "first"), (NONE, "second"), (ALL, "first")]:
            router.shift(share)
            assert router.share() == share
            assert status(running, server).startswith(seen)
        assert set(ports(running, 4)) == {running.pair.standby.port}
        router.shift(Share(standby=50))
        assert all(status(running, server).startswith("UP") for server in ("first", "second"))
        assert set(ports(running, 4)) == {running.pair.standby.port, running.pair.primary.port}


def test_without_a_state_file_a_reload_takes_the_shift_back_and_that_is_seen(running: Haproxy) -> None:
    with opened(running.config()) as router:
        router.shift(ALL)
        running.reload()
        assert router.share() == NONE
    assert set(ports(running, 4)) == {running.pair.primary.port}


@pytest.mark.parametrize("left", ["weight", "drain"])
def test_with_a_state_file_a_reload_keeps_the_shift(running: Haproxy, left: str) -> None:
    with opened(running.config(left=left, state_file=str(running.state_file))) as router:
        for share, server in [(ALL, "standby"), (Share(standby=30), ""), (NONE, "primary")]:
            router.shift(share)
            running.reload()
            assert router.share() == share
            if server:
                assert set(ports(running, 4)) == {getattr(running.pair, server).port}


def test_a_reload_before_the_weights_were_set_brings_the_shift_about(running: Haproxy) -> None:
    """The file comes first: of a crash in between, the next reload makes what was intended, never its opposite."""
    kept = str(running.state_file)
    with opened(running.config(state_file=kept, socket=str(running.folder / "user.sock"))) as router:
        with pytest.raises(LookupError, match="HAProxy says: Permission denied"):
            router.shift(ALL)
        assert router.share() == NONE
        running.reload()
        assert router.share() == ALL


def test_what_the_state_file_says_of_other_servers_stays(running: Haproxy) -> None:
    running.ask("set server pages/one state maint")
    before = running.ask("show servers state")
    running.state_file.write_text(before.strip() + "\n")
    running.ask("set server pages/one state ready")
    with opened(running.config(state_file=str(running.state_file))) as router:
        router.shift(ALL)
    after = running.state_file.read_text().splitlines()
    assert len(after) == len(before.strip().splitlines())
    assert [line for line in after if " reads " not in line] == [
        line for line in before.strip().splitlines() if " reads " not in line
    ]


def test_a_state_file_of_another_version_is_left_alone() -> None:
    server = {"be_id": "2", "be_name": "reads", "srv_id": "1", "srv_name": "first"}
    with pytest.raises(LookupError, match="not of version 1: '2'"):
        with_servers("2\n# whatever\n", [server])


def test_a_server_that_haproxy_holds_for_down_is_sent_nothing_more(fresh_postgres_pair: Pair) -> None:
    with haproxy(fresh_postgres_pair) as running, opened(running.config()) as router:
        fresh_postgres_pair.standby.kill()
        wait.until(lambda: status(running, "second") == "DOWN", 30, "HAProxy sees that the standby is down")
        with pytest.raises(LookupError, match="reads/second is down by HAProxy's own check"):
            router.shift(ALL)
        assert router.share() == NONE
        router.shift(NONE)


def test_reads_leave_a_server_that_haproxy_holds_for_down(fresh_postgres_pair: Pair) -> None:
    with haproxy(fresh_postgres_pair) as running, opened(running.config()) as router:
        fresh_postgres_pair.primary.kill()
        wait.until(lambda: status(running, "first") == "DOWN", 30, "HAProxy sees that the primary is down")
        router.shift(ALL)
        assert set(ports(running, 4)) == {fresh_postgres_pair.standby.port}


@pytest.mark.parametrize("state", ["maint", "drain"])
def test_a_server_that_somebody_else_took_out_of_service_stays_out(running: Haproxy, state: str) -> None:
    running.ask(f"set server reads/second state {state}")
    with opened(running.config()) as router:
        with pytest.raises(LookupError, match="reads/second was taken out of service by somebody else"):
            router.shift(Share(standby=50))
        assert router.share() == NONE


def test_a_server_that_is_drained_by_hand_counts_as_one_that_gets_nothing(running: Haproxy) -> None:
    with opened(running.config()) as router:
        router.shift(Share(standby=50))
        running.ask("set server reads/first state drain")
        assert router.share() == ALL


def test_what_somebody_else_set_stays_in_the_state_file(running: Haproxy) -> None:
    running.ask("set server reads/first state maint")
    with opened(running.config(state_file=str(running.state_file))) as router:
        router.shift(ALL)
    running.reload()
    assert status(running, "first") == "MAINT"


def test_a_share_that_is_not_the_routers_to_say_is_refused(running: Haproxy) -> None:
    with opened(running.config()) as router:
        running.ask("set server reads/first weight 0")
        with pytest.raises(LookupError, match="sends nothing, neither to first nor to second"):
            router.share()


def test_100_percent_is_said_only_when_nothing_else_gets_a_read(running: Haproxy) -> None:
    with opened(running.config()) as router:
        for command in ("set server reads/second weight 256", "set server reads/first weight 1"):
            assert running.ask(command) == "\n", command
        assert router.share() == Share(standby=99)


def test_a_third_server_that_gets_reads_is_named(postgres_pair: Pair) -> None:
    third = f"server third 127.0.0.1:{postgres_pair.primary.port} weight"
    with haproxy(postgres_pair, f"{third} 5") as running, opened(running.config()) as router:
        with pytest.raises(LookupError, match="reads/third is used, too"):
            router.ping()
        running.ask("set server reads/third weight 0")
        router.ping()
    with haproxy(postgres_pair, f"{third} 5 backup") as running, opened(running.config()) as router:
        router.ping()
        with (
            opened(running.config(standby_server="third")) as wrong,
            pytest.raises(LookupError, match="third is a backup server"),
        ):
            wrong.ping()


def test_a_backend_or_server_that_is_not_there_is_named(running: Haproxy) -> None:
    with opened(running.config(backend="writes")) as router, pytest.raises(LookupError, match="no backend writes"):
        router.ping()
    with opened(running.config(standby_server="third")) as router, pytest.raises(LookupError, match="no server third"):
        router.ping()


def test_a_balance_that_knows_no_weights_is_named(postgres_pair: Pair) -> None:
    with (
        haproxy(postgres_pair, "balance static-rr") as running,
        opened(running.config()) as router,
        pytest.raises(LookupError, match="HAProxy says: Backend is using a static LB algorithm"),
    ):
        router.shift(Share(standby=50))


def test_an_haproxy_that_answers_nothing_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = HaproxyReads(
            address=f"127.0.0.1:{silent.getsockname()[1]}",
            backend="reads",
            primary_server="first",
            standby_server="second",
            primary="primary",
            standby="standby",
            application="shop",
        )
        with (
            opened(config, timeout=0.2) as router,
            pytest.raises(TargetUnreachable, match="the-target did not answer in time"),
        ):
            router.ping()


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"address": "127.0.0.1:9999"}, "either `socket` or `address`"),
        ({"socket": None}, "either `socket` or `address`"),
        ({"standby_server": "first"}, "are one"),
        ({"left": "maint", "state_file": "state"}, "write `left: drain`"),
        ({"backend": "reads;show"}, "matching regex"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    well = {"type": "haproxy-reads", "socket": "api.sock", "backend": "reads", "primary_server": "first"}
    well |= {"standby_server": "second", "primary": "primary", "standby": "standby", "application": "shop"}
    msgspec.convert(well, HaproxyReads)
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({**well, **changes}, HaproxyReads)
