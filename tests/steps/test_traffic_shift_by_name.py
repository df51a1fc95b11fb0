"""Users who really follow a zone of Route 53 (LocalStack), and the real `dr` that looks where they arrive.

Name servers answer from the zone, each user has a resolver, and `dr` runs on a machine whose own resolver it asks as
any program does.
"""

import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dr.demo import wait
from localstack.instance import CREDENTIALS, REGION, LocalStack
from tests.cli.shell import PATIENCE, Outcome, command, environment, journal, write
from tests.name_server import Answering, NameServer, address, relayed, resolver, serving, users
from tests.namespaces import resolved_by
from tests.website import Pair, two_sites
from tests.zone import NAME, Zone

TOML = """\
[environments.test.targets.users]
type = "route53-traffic"
region = "{region}"
endpoint = "{endpoint}"
zone = "{zone}"
name = "{name}"
primary = "here"
standby = "there"
[environments.test.targets.door]
type = "http"
url = "http://{name}:{port}"
"""
RUNBOOK = """\
name: move
title: Users go over
steps:
  - id: over
    kind: traffic.shift
    with:
      router: users
      stages: [50, 100]
      settle: 200ms
      seen_within: {within}
      arrivals: {{target: door, primary: from here, standby: from there}}
    retry: {{attempts: 1}}
"""


class Internet:
    """Two sites, the zone that leads to them, its name servers, and a machine with a resolver on which `dr` runs."""

    def __init__(self, folder: Path, localstack: LocalStack, sites: Pair, stack: ExitStack, kept: int) -> None:
        self.folder, self.sites, self._stack = folder, sites, stack
        self.zone = Zone(localstack, {"here": 100, "there": 0}, at=sites.addresses, ttl=kept)
        self.servers = NameServer(self.zone)
        self.place = stack.enter_context(serving(self.servers.answer))
        places = {"region": REGION, "endpoint": localstack.endpoint, "zone": self.zone.id}
        write(folder, {"dr.toml": TOML.format(**places, name=NAME, port=sites.port)})

    def dr(self, *arguments: str, asks: Answering | None = None) -> Outcome:
        """Run `dr` where the machine's resolver answers so; without `asks`, from the zone at that moment."""
        home = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            self._stack.enter_context(serving(asks or self.servers.answer, home, 53))
        except PermissionError:
            pytest.skip("the port 53 of a resolver needs root")
        done = subprocess.run(
            [*resolved_by(home, self.folder), *command(*arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
            env=environment(self.folder, **CREDENTIALS), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def move(self, *, within: str, asks: Answering | None = None) -> Outcome:
        write(self.folder, {"move.yaml": RUNBOOK.format(within=within)})
        return self.dr("run", "move.yaml", "--env", "test", "--yes", asks=asks)

    def arrivals(self, more: int = 50) -> tuple[int, int]:
        """Where so many visits arrive from now on."""
        here, there = self.sites.asked
        wait.until(lambda: sum(self.sites.asked) >= here + there + more, 30, "there are visits")
        return self.sites.here.asked - here, self.sites.there.asked - there


@pytest.fixture
def internet(request: pytest.FixtureRequest, tmp_path: Path, localstack: LocalStack) -> Iterator[Internet]:
    with two_sites() as sites, ExitStack() as stack:
        yield Internet(tmp_path, localstack, sites, stack, kept=request.param)


def kept(seconds: int) -> pytest.MarkDecorator:
    """Resolvers keep an answer for so long."""
    return pytest.mark.parametrize("internet", [seconds], indirect=True, ids=[f"kept-{seconds}s"])


@kept(3)
@pytest.mark.parametrize("caching", [True, False], ids=["behind-a-cache", "without-a-cache"])
def test_when_it_is_done_nobody_arrives_at_the_site_that_was_left_and_nobody_got_an_error(
    internet: Internet, *, caching: bool
) -> None:
    """Also where dr's own resolver has the new answer long before the users' have it."""
    with users(internet.place, internet.sites.port, kept=3) as errors:
        asks = relayed(resolver(internet.place)) if caching else None
        done = internet.move(within="10s", asks=asks)
        assert done.status == 0, done.out + done.err
        assert internet.arrivals()[0] == 0
    assert not errors
    [seen] = [event["evidence"] for event in journal(internet.folder) if event["type"] == "step-done"]
    assert seen["answered_by"]["primary"] == 0 < seen["answered_by"]["standby"]


@kept(60)
def test_it_is_not_done_while_resolvers_may_keep_the_answer_of_before(internet: Internet) -> None:
    """The zone says so, and dr's own resolver too; the users go on as before."""
    with users(internet.place, internet.sites.port, kept=0):
        internet.arrivals()
        left = internet.move(within="300ms")
        assert left.status == 5, left.out + left.err
        assert "resolvers may keep the answer of before for 60 s: make seen_within longer" in left.out
        assert internet.zone.weights() == {"here": 0, "there": 100}
        assert internet.arrivals()[0] > 0


@kept(60)
def test_it_is_not_done_while_requests_are_answered_by_the_site_that_was_left(internet: Internet) -> None:
    """dr's own resolver keeps the answer of before."""
    mine = resolver(internet.place)
    assert address(mine) == internet.sites.here.address
    left = internet.move(within="300ms", asks=relayed(mine))
    assert left.status == 5, left.out + left.err
    assert "100% should go to the standby; answered: 0 by the standby" in left.out


@kept(1)
def test_it_is_not_done_where_a_health_check_sends_the_users_back(internet: Internet) -> None:
    """All weight is on the other site; Route 53 sees that it is sick, and answers with the one that was left."""
    internet.zone.checked("there", 0, Port=internet.sites.port)
    internet.sites.there.status = 503
    left = internet.move(within="300ms")
    assert left.status == 5, left.out + left.err
    assert internet.zone.weights() == {"here": 0, "there": 100}
    assert "100% should go to the standby; answered: 0 by the standby" in left.out
