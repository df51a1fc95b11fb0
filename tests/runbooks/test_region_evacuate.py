"""`region-evacuate` as an operator meets it, graceful and not.

The databases and their pool are real, Route 53 and SNS are LocalStack's, Auto Scaling is moto's.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack.instance import CREDENTIALS, REGION, LocalStack
from tests.cli.shell import Outcome, journal
from tests.cluster import Cluster, Watch, Writer, cluster
from tests.desk import EVACUATE, Desk
from tests.moto_fixture import Group, Moto
from tests.topic import Topic
from tests.website import Site, website
from tests.zone import NAME, Zone

TOML = """\
[environments.test.targets.there]
type = "aws"
region = "{region}"
endpoint = "{moto}"
[environments.test.targets.people]
type = "sns"
region = "{region}"
endpoint = "{localstack}"
topic = "{topic}"
[environments.test.targets.users]
type = "route53-traffic"
region = "{region}"
endpoint = "{localstack}"
zone = "{zone}"
name = "{name}"
primary = "here"
standby = "there"
[environments.test.targets.shop-there]
type = "http"
url = "{shop}"
"""


class Regions:
    """The two regions, and the desk from which one is left."""

    def __init__(self, folder: Path, servers: Cluster, shop: Site, localstack: LocalStack, moto: Moto) -> None:
        self.shop = shop
        self.desk = Desk(folder, servers, shop, servers.first, servers.second)
        self.desk.variables |= CREDENTIALS
        self.zone = Zone(localstack, {"here": 100, "there": 0})
        self.topic, self.group = Topic(localstack), Group(moto)
        places = {"moto": moto.endpoint, "localstack": localstack.endpoint, "region": REGION}
        things = {"topic": self.topic.arn, "zone": self.zone.id, "name": NAME, "shop": shop.url}
        with (folder / "dr.toml").open("a", encoding="utf-8") as toml:
            toml.write(TOML.format(**places, **things))

    def dr(self, command: str, *arguments: str) -> Outcome:
        return self.desk.dr(command, EVACUATE, "--env", "test", *arguments, "-p", f"group={self.group.name}")

    def run(self, *arguments: str) -> Outcome:
        """To the question whether to go."""
        asked = self.dr("run", "--yes", "-p", "watch=300ms", *arguments)
        assert asked.status == 5, asked.out + asked.err
        assert "Move the database and the users there?" in asked.out
        return asked

    def go(self) -> Outcome:
        return self.desk.dr("answer", "latest", "yes")

    def stages(self) -> list[int]:
        """The shares that were set."""
        claims = [event.get("claim", {}) for event in journal(self.desk.folder)]
        return [stage["standby_percent"] for claim in claims for stage in claim.get("stages", ())]


@pytest.fixture
def regions(tmp_path: Path, localstack: LocalStack, moto: Moto) -> Iterator[Regions]:
    with cluster() as servers, website() as shop:
        yield Regions(tmp_path, servers, shop, localstack, moto)


def test_it_is_right_and_its_plan_says_what_is_skipped_where_the_region_is_lost(regions: Regions) -> None:
    assert regions.desk.dr("check", EVACUATE, "--env", "test").status == 0
    graceful = regions.dr("plan", "--look")
    assert graceful.status == 0, graceful.err
    assert "Make db2 the primary in the place of db1" in graceful.out
    assert "standby_percent: 0" in graceful.out
    lost = regions.dr("plan", "--ungraceful")
    assert lost.status == 0, lost.err
    assert "Fence db1, even if it is unfenced, and promote db2" in lost.out


def test_graceful_capacity_comes_first_no_row_is_lost_and_users_go_over_in_stages(regions: Regions) -> None:
    desk = regions.desk
    with Writer(desk.servers) as client, Watch(desk.servers) as watch:
        regions.run()
        assert regions.group.sizes == (6, 10, 6)
        assert desk.primary.writable()
        assert regions.zone.weights() == {"here": 100, "there": 0}
        done = regions.go()
        assert done.status == 0, done.out + done.err
        client.goes_on()
    assert not client.errors
    assert not watch.two_writable
    assert client.acknowledged <= desk.servers.ids(desk.standby)
    assert regions.stages() == [10, 50, 100]
    assert regions.zone.weights() == {"here": 0, "there": 100}
    assert [message["Subject"] for message in regions.topic.came()] == [
        "The region is being evacuated",
        "The region is evacuated",
    ]


def test_ungraceful_a_lost_region_is_left_at_once_though_nothing_there_can_be_fenced(regions: Regions) -> None:
    desk = regions.desk
    desk.primary.kill()
    data = desk.primary.server.data
    data.rename(data.with_name("lost"))
    assert regions.dr("run", "--yes").status == 16
    regions.run("--ungraceful")
    done = regions.go()
    assert done.status == 0, done.out + done.err
    assert desk.standby.writable()
    assert regions.stages() == [100]
    assert regions.zone.weights() == {"here": 0, "there": 100}


def test_users_whose_page_fails_there_go_back_by_themselves_and_a_rollback_takes_the_rest_back(
    regions: Regions,
) -> None:
    def fail_under_load(_: int) -> None:
        regions.shop.status = 500 if regions.zone.weights()["there"] == 50 else 200

    desk = regions.desk
    regions.run()
    regions.shop.before_answer = fail_under_load
    paused = regions.go()
    assert paused.status == 5, paused.out + paused.err
    assert "shifted back to 0% on the standby: shop-there / fails: status 500" in paused.out
    assert regions.zone.weights() == {"here": 100, "there": 0}
    assert desk.standby.writable()
    regions.shop.before_answer, regions.shop.status = lambda _: None, 200
    undone = desk.dr("rollback", "latest")
    assert undone.status == 4, undone.out + undone.err
    assert desk.primary.writable()
    assert not desk.standby.writable()
    assert regions.group.sizes == (1, 10, 2)
