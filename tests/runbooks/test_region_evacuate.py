"""`region-evacuate` as an operator meets it, graceful and not: the databases and their pool are real, too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack.instance import LocalStack
from tests.cluster import Cluster, Watch, Writer, cluster
from tests.desk import EVACUATE, Desk
from tests.evacuation import KEPT, Evacuation
from tests.internet import Internet, two_sites_by_name
from tests.moto_fixture import Moto
from tests.name_server import users


class Regions(Evacuation):
    """The two regions, with a server of the database in each."""

    def __init__(self, folder: Path, servers: Cluster, localstack: LocalStack, moto: Moto, internet: Internet) -> None:
        super().__init__(folder, EVACUATE, localstack, moto, internet)
        there = internet.sites.there
        self.desk = Desk(folder, servers, there, servers.first, servers.second, door=internet.door)
        self.variables = {**self.variables, **self.desk.variables}
        with (folder / "dr.toml").open("a", encoding="utf-8") as toml:
            toml.write(self.toml)


@pytest.fixture
def regions(tmp_path: Path, localstack: LocalStack, moto: Moto) -> Iterator[Regions]:
    with cluster() as servers, two_sites_by_name(localstack, kept=KEPT) as internet:
        yield Regions(tmp_path, servers, localstack, moto, internet)


def test_it_is_right_and_its_plan_says_what_is_skipped_where_the_region_is_lost(regions: Regions) -> None:
    assert regions.dr("check", EVACUATE, "--env", "test").status == 0
    graceful = regions.evacuate("plan", "--look")
    assert graceful.status == 0, graceful.err
    assert "Make db2 the primary in the place of db1" in graceful.out
    assert "standby_percent: 0" in graceful.out
    lost = regions.evacuate("plan", "--ungraceful")
    assert lost.status == 0, lost.err
    assert "Fence db1, even if it is unfenced, and promote db2" in lost.out


def test_graceful_capacity_comes_first_no_row_is_lost_and_users_go_over_in_stages(regions: Regions) -> None:
    desk = regions.desk
    internet = regions.internet
    with (
        Writer(desk.servers) as client,
        Watch(desk.servers) as watch,
        users(internet.place, internet.sites.port, kept=KEPT) as errors,
    ):
        regions.run()
        assert regions.group.sizes == (6, 10, 6)
        assert desk.primary.writable()
        assert regions.internet.zone.weights() == {"here": 100, "there": 0}
        done = regions.go()
        assert done.status == 0, done.out + done.err
        client.goes_on()
        assert internet.arrivals()[0] == 0
    assert not client.errors
    assert not errors
    assert not watch.two_writable
    assert client.acknowledged <= desk.servers.ids(desk.standby)
    assert regions.stages() == [10, 50, 100]
    assert regions.internet.zone.weights() == {"here": 0, "there": 100}
    assert [message["Subject"] for message in regions.topic.came()] == [
        "The region is being evacuated",
        "The region is evacuated",
    ]


def test_ungraceful_a_lost_region_is_left_at_once_though_nothing_there_can_be_fenced(regions: Regions) -> None:
    desk = regions.desk
    desk.primary.kill()
    data = desk.primary.server.data
    data.rename(data.with_name("lost"))
    regions.internet.sites.here.stop()
    assert regions.evacuate("run", "--yes").status == 16
    regions.run("--ungraceful")
    done = regions.go()
    assert done.status == 0, done.out + done.err
    assert desk.standby.writable()
    assert regions.stages() == [100]
    assert regions.internet.zone.weights() == {"here": 0, "there": 100}


def test_users_whose_page_fails_there_go_back_by_themselves_and_a_rollback_takes_the_rest_back(
    regions: Regions,
) -> None:
    def fail_under_load(_: int) -> None:
        regions.internet.sites.there.status = 500 if regions.internet.zone.weights()["there"] == 50 else 200

    desk = regions.desk
    regions.run()
    regions.internet.sites.there.before_answer = fail_under_load
    paused = regions.go()
    assert paused.status == 5, paused.out + paused.err
    assert "shifted back to 0% on the standby: shop-there / fails: status 500" in paused.out
    assert regions.internet.zone.weights() == {"here": 100, "there": 0}
    assert desk.standby.writable()
    regions.internet.sites.there.before_answer, regions.internet.sites.there.status = lambda _: None, 200
    undone = regions.dr("rollback", "latest")
    assert undone.status == 4, undone.out + undone.err
    assert desk.primary.writable()
    assert not desk.standby.writable()
    assert regions.group.sizes == (1, 10, 2)
