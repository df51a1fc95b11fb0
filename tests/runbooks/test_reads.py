"""`reads-to-standby` and `reads-to-primary` as an operator meets them: checked, planned, run, turned back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from dr.demo.postgres import Pair
from tests.background import repeating
from tests.cli.shell import ROOT, Outcome, dr, journal, types, write
from tests.haproxy import APPLICATION, Haproxy, haproxy
from tests.website import Site, website

TO_STANDBY = ROOT / "runbooks" / "reads-to-standby.yaml"
TO_PRIMARY = ROOT / "runbooks" / "reads-to-primary.yaml"
BOTH = (TO_STANDBY, TO_PRIMARY)
QUICK = ("-p", "watch=300ms")

ENVIRONMENT = """\
[environments.shop.targets]
primary = {{type = "postgresql", dsn = "env:PRIMARY"}}
standby = {{type = "postgresql", dsn = "env:STANDBY"}}
shop = {{type = "http", url = "{shop}"}}

[environments.shop.targets.reads]
type = "haproxy-reads"
socket = "{socket}"
backend = "reads"
primary_server = "first"
standby_server = "second"
primary = "primary"
standby = "standby"
application = "{application}"
"""


class Shop:
    """A website, its readers, and the HAProxy between them and a pair of databases."""

    def __init__(self, folder: Path, proxy: Haproxy, site: Site) -> None:
        self.proxy = proxy
        self.site = site
        self.pair = proxy.pair
        self._folder = folder
        socket = proxy.folder / "api.sock"
        write(folder, {"dr.toml": ENVIRONMENT.format(shop=site.url, socket=socket, application=APPLICATION)})

    def dr(self, *arguments: str | Path) -> Outcome:
        dsns = {"PRIMARY": self.pair.primary.dsn, "STANDBY": self.pair.standby.dsn}
        return dr(self._folder, *arguments, **dsns)

    def run(self, runbook: Path, *arguments: str) -> Outcome:
        return self.dr("run", runbook, "--env", "shop", "--yes", *QUICK, *arguments)

    def where(self) -> set[str]:
        """Where new connections read."""
        ports = {self.pair.primary.port: "primary", self.pair.standby.port: "standby"}
        found = set()
        for _ in range(4):
            with self.proxy.connect() as client:
                [(port,)] = client.execute("select inet_server_port()").fetchall()
                found.add(ports[int(str(port))])
        return found

    def events(self) -> list[str]:
        """The types of the entries of the only run."""
        return types(self._folder)

    def failed_attempts(self) -> list[str]:
        return [event["error"] for event in journal(self._folder) if event["type"] == "attempt-failed"]


@pytest.fixture
def shop(postgres_pair: Pair, tmp_path: Path) -> Iterator[Shop]:
    with website() as site, haproxy(postgres_pair) as proxy, visitors(proxy):
        yield Shop(tmp_path, proxy, site)


@contextmanager
def visitors(proxy: Haproxy) -> Iterator[None]:
    """They read again and again, each on a connection of its own, and get no error."""

    def read() -> None:
        with proxy.connect() as client:
            client.execute("select pg_sleep(0.002)")

    with repeating(read, every=0.005, expected=psycopg.Error) as errors:
        yield
    assert not errors


@pytest.mark.parametrize("runbook", BOTH, ids=lambda path: path.stem)
def test_it_is_right_and_its_plan_says_what_it_would_move(shop: Shop, runbook: Path) -> None:
    assert shop.dr("check", runbook, "--env", "shop").status == 0
    plan = shop.dr("plan", runbook, "--env", "shop", "--look")
    assert plan.status == 0, plan.err
    assert "Shift the reads of reads to the" in plan.out
    assert "standby_percent: 0" in plan.out
    assert shop.where() == {"primary"}


def test_the_reads_go_to_the_standby_and_come_back_and_no_visitor_gets_an_error(shop: Shop) -> None:
    there = shop.run(TO_STANDBY)
    assert there.status == 0, there.out + there.err
    assert shop.where() == {"standby"}
    back = shop.run(TO_PRIMARY)
    assert back.status == 0, back.out + back.err
    assert shop.where() == {"primary"}


def test_a_page_that_fails_turns_the_first_stage_back_and_a_person_is_asked(shop: Shop) -> None:
    shop.site.status = 500
    seen = shop.run(TO_STANDBY)
    assert seen.status == 5, seen.out + seen.err
    [error] = shop.failed_attempts()
    assert "shifted back to 0% on the standby: shop / fails: status 500" in error
    assert shop.where() == {"primary"}


def test_what_was_moved_is_moved_back_by_a_rollback(shop: Shop) -> None:
    def fail_once_it_is_done(_: int) -> None:
        if "step-done" in shop.events():
            shop.site.status = 500

    shop.site.before_answer = fail_once_it_is_done
    seen = shop.run(TO_STANDBY, "-p", "within=2s")
    assert seen.status == 5, seen.out + seen.err
    assert shop.where() == {"standby"}
    shop.site.before_answer, shop.site.status = lambda _: None, 200
    rolled_back = shop.dr("rollback", "latest")
    assert rolled_back.status == 4, rolled_back.out + rolled_back.err
    assert shop.where() == {"primary"}


def test_reads_do_not_come_back_to_a_primary_that_is_full(shop: Shop) -> None:
    assert shop.run(TO_STANDBY).status == 0
    with ExitStack() as stack:
        for _ in range(75):
            stack.enter_context(psycopg.connect(shop.pair.primary.dsn))
        seen = shop.run(TO_PRIMARY)
    assert seen.status == 5, seen.out + seen.err
    assert shop.where() == {"standby"}


def test_reads_leave_a_dead_standby_at_once_and_a_person_says_what_dr_cannot_see(
    fresh_postgres_pair: Pair, tmp_path: Path
) -> None:
    with website() as site, haproxy(fresh_postgres_pair) as proxy:
        shop = Shop(tmp_path, proxy, site)
        proxy.ask("set server reads/second weight 100")
        proxy.ask("set server reads/first weight 0")
        fresh_postgres_pair.standby.kill()
        assert shop.run(TO_PRIMARY).status == 16
        seen = shop.run(TO_PRIMARY, "--ungraceful")
        assert seen.status == 5, seen.out + seen.err
        assert "0% of the reads go to standby" in seen.out
        assert "90% of the reads" not in seen.out
        assert shop.where() == {"primary"}
        ruled = shop.dr("answer", "latest", "done")
        assert ruled.status == 0, ruled.out + ruled.err
