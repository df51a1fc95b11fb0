"""Users who really follow a zone of Route 53 (LocalStack), and the real `dr` that looks where they arrive.

Name servers answer from the zone, each user has a resolver, and `dr` runs on a machine whose own resolver it asks as
any program does.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack.instance import CREDENTIALS, LocalStack
from tests.cli.shell import Outcome, dr, journal, write
from tests.internet import Internet, two_sites_by_name
from tests.name_server import Answering, address, relayed, resolver, users

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


class Desk:
    """A folder from which users are moved."""

    def __init__(self, folder: Path, internet: Internet) -> None:
        self.folder, self.internet = folder, internet
        door = f'[environments.test.targets.door]\ntype = "http"\nurl = "{internet.door}"\n'
        write(folder, {"dr.toml": internet.toml() + door})

    def move(self, *, within: str, asks: Answering | None = None) -> Outcome:
        """`dr run`, on a machine whose resolver answers so."""
        write(self.folder, {"move.yaml": RUNBOOK.format(within=within)})
        machine = self.internet.machine(self.folder, asks)
        return dr(self.folder, "run", "move.yaml", "--env", "test", "--yes", on=machine, **CREDENTIALS)


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, localstack: LocalStack) -> Iterator[Desk]:
    with two_sites_by_name(localstack, kept=request.param) as internet:
        yield Desk(tmp_path, internet)


def kept(seconds: int) -> pytest.MarkDecorator:
    """Resolvers keep an answer for so long."""
    return pytest.mark.parametrize("desk", [seconds], indirect=True, ids=[f"kept-{seconds}s"])


@kept(3)
@pytest.mark.parametrize("caching", [True, False], ids=["behind-a-cache", "without-a-cache"])
def test_when_it_is_done_nobody_arrives_at_the_site_that_was_left_and_nobody_got_an_error(
    desk: Desk, *, caching: bool
) -> None:
    """Also where dr's own resolver has the new answer long before the users' have it."""
    with users(desk.internet.place, desk.internet.sites.port, kept=3) as errors:
        asks = relayed(resolver(desk.internet.place)) if caching else None
        done = desk.move(within="10s", asks=asks)
        assert done.status == 0, done.out + done.err
        assert desk.internet.arrivals()[0] == 0
    assert not errors
    [seen] = [event["evidence"] for event in journal(desk.folder) if event["type"] == "step-done"]
    assert seen["answered_by"]["primary"] == 0 < seen["answered_by"]["standby"]


@kept(60)
def test_it_is_not_done_while_resolvers_may_keep_the_answer_of_before(desk: Desk) -> None:
    """The zone says so, and dr's own resolver too; the users go on as before."""
    with users(desk.internet.place, desk.internet.sites.port, kept=0):
        desk.internet.arrivals()
        left = desk.move(within="300ms")
        assert left.status == 5, left.out + left.err
        assert "resolvers may keep the answer of before for 60 s: make seen_within longer" in left.out
        assert desk.internet.zone.weights() == {"here": 0, "there": 100}
        assert desk.internet.arrivals()[0] > 0


@kept(60)
def test_it_is_not_done_while_requests_are_answered_by_the_site_that_was_left(desk: Desk) -> None:
    """dr's own resolver keeps the answer of before."""
    mine = resolver(desk.internet.place)
    assert address(mine) == desk.internet.sites.here.address
    left = desk.move(within="300ms", asks=relayed(mine))
    assert left.status == 5, left.out + left.err
    assert "100% should go to the standby; answered: 0 by the standby" in left.out


@kept(1)
def test_it_is_not_done_where_a_health_check_sends_the_users_back(desk: Desk) -> None:
    """All weight is on the other site; Route 53 sees that it is sick, and answers with the one that was left."""
    desk.internet.zone.checked("there", 0, Port=desk.internet.sites.port)
    desk.internet.sites.there.status = 503
    left = desk.move(within="300ms")
    assert left.status == 5, left.out + left.err
    assert desk.internet.zone.weights() == {"here": 0, "there": 100}
    assert "100% should go to the standby; answered: 0 by the standby" in left.out
