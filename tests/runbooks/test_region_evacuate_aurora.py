"""`region-evacuate-aurora` as an operator meets it, graceful and not; killed in the middle, and with the way back.

The Aurora global database is moto's, taught the rules of RDS by `tests/rds_world.py`: no emulator changes its roles.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dr.demo import wait
from localstack.instance import LocalStack
from tests.cli.shell import PATIENCE, ROOT, started, write
from tests.evacuation import KEPT, Evacuation
from tests.internet import Internet, two_sites_by_name
from tests.moto_fixture import Moto
from tests.name_server import users
from tests.rds_world import READS, GlobalDatabase, taught

RUNBOOK = "runbooks/region-evacuate-aurora.yaml"
SWITCH = """\
    kind: aws.rds.global.switchover
    with:"""
"""Where the runbook would have Aurora take its time."""


class Regions(Evacuation):
    """The two regions of the global database; the one that reads is where dr acts."""

    def __init__(self, folder: Path, localstack: LocalStack, moto: Moto, internet: Internet) -> None:
        super().__init__(folder, RUNBOOK, localstack, moto, internet, there=READS)
        self.database = GlobalDatabase(moto)
        self.database.steps = ("pending",)  # through at the first look: dr would take its time until the second
        self.parameters |= {"global-cluster": self.database.name, "to": self.database.reader}
        shop = f'[environments.test.targets.shop]\ntype = "http"\nurl = "{internet.door}"\n'
        write(folder, {"dr.toml": self.toml + shop, RUNBOOK: (ROOT / RUNBOOK).read_text(encoding="utf-8")})

    def wait_a_second(self) -> None:
        """The runbook does not wait for the roles as long as it would: they do not change while it does."""
        text = (self.folder / RUNBOOK).read_text(encoding="utf-8")
        write(self.folder, {RUNBOOK: text.replace(SWITCH, f"{SWITCH}\n      within: 1s")})

    @property
    def weights(self) -> dict[str, int]:
        return self.internet.zone.weights()

    def killed_when(self, reached: Callable[[], bool]) -> None:
        """Agree to go, and kill dr with SIGKILL as soon as it has come to that."""
        with started(self.folder, "answer", "latest", "yes", on=self.machine, env=self.environment()) as process:
            wait.until(lambda: reached() or process.poll() is not None, PATIENCE, "dr is in that step")
            assert process.poll() is None
            process.kill()
            process.wait()


@pytest.fixture
def regions(tmp_path: Path, localstack: LocalStack, moto: Moto) -> Iterator[Regions]:
    with two_sites_by_name(localstack, kept=KEPT) as internet:
        made = Regions(tmp_path, localstack, moto, internet)
        with taught(made.database):
            yield made


def test_it_is_right_and_its_plan_says_how_the_database_stands_and_what_is_lost(regions: Regions) -> None:
    assert regions.dr("check", RUNBOOK, "--env", "test").status == 0
    graceful = regions.evacuate("plan", "--look")
    assert graceful.status == 0, graceful.err
    assert f"Switch {regions.database.name} of there over to {regions.database.reader}" in graceful.out
    assert f"writer: {regions.database.writer}" in graceful.out
    assert f"time_to_live_seconds: {KEPT}" in graceful.out
    lost = regions.evacuate("plan", "--ungraceful")
    assert lost.status == 0, lost.err
    assert f"Fail {regions.database.name} of there over to {regions.database.reader}, losing what" in lost.out


def test_graceful_capacity_comes_first_the_writer_changes_its_region_once_and_users_follow(regions: Regions) -> None:
    internet = regions.internet
    with users(internet.place, internet.sites.port, kept=KEPT) as errors:
        regions.run()
        assert regions.group.sizes == (6, 10, 6)
        assert regions.database.calls == []
        done = regions.go()
        assert done.status == 0, done.out + done.err
        assert internet.arrivals()[0] == 0
        assert regions.database.calls == ["switchover"]
        assert regions.database.writes_now == regions.database.reader
        assert regions.stages() == [10, 50, 100]
    assert not errors


def test_users_whose_page_fails_there_go_back_by_themselves_and_a_rollback_takes_the_database_back(
    regions: Regions,
) -> None:
    def fail_under_load(_: int) -> None:
        regions.internet.sites.there.status = 500 if regions.weights["there"] == 50 else 200

    regions.run()
    regions.internet.sites.there.before_answer = fail_under_load
    paused = regions.go()
    assert paused.status == 5, paused.out + paused.err
    assert "shifted back to 0% on the standby: shop-there / fails: status 500" in paused.out
    assert regions.database.writes_now == regions.database.reader
    undone = regions.dr("rollback", "latest")
    assert undone.status == 4, undone.out + undone.err
    assert regions.database.calls == ["switchover", "switchover"]
    assert regions.database.writes_now == regions.database.writer
    assert regions.weights == {"here": 100, "there": 0}
    assert regions.group.sizes == (1, 10, 2)


def test_ungraceful_a_lost_region_is_left_at_once_when_it_is_said_to_be_fenced_and_there_is_no_way_back(
    regions: Regions,
) -> None:
    """Safety rules 6 and 10."""
    there = regions.internet.sites.there
    regions.internet.sites.here.stop()
    regions.database.kept.status = "unavailable"
    regions.run("--ungraceful")
    assert regions.database.calls == []
    there.status = 500
    paused = regions.go()
    assert paused.status == 5, paused.out + paused.err
    assert regions.database.calls == ["failover"]
    refused = regions.dr("rollback", "latest")
    assert "fail-over cannot be undone" in refused.err
    there.status = 200
    done = regions.dr("answer", "latest", "retry")
    assert done.status == 0, done.out + done.err
    assert regions.stages() == [100]
    assert regions.weights == {"here": 0, "there": 100}
    assert regions.database.writes_now == regions.database.reader


def test_graceful_it_goes_no_further_where_the_other_region_is_behind_and_a_rollback_takes_capacity_back(
    regions: Regions,
) -> None:
    """Safety rule 9: nothing is lost where nobody has said that it may be."""
    regions.database.behind = {regions.database.reader}
    regions.wait_a_second()
    regions.run()
    paused = regions.go()
    assert paused.status == 5, paused.out + paused.err
    assert "pending-resync" in paused.out
    assert regions.dr("rollback", "latest").status == 4
    assert regions.database.calls == []
    assert regions.weights == {"here": 100, "there": 0}
    assert regions.group.sizes == (1, 10, 2)


def test_killed_while_the_roles_change_it_asks_for_no_second_change(regions: Regions) -> None:
    """Safety rules 1 and 3: what was asked for goes on without dr, and while it does, the step is in doubt."""
    regions.wait_a_second()
    regions.run()
    with regions.database.held():
        regions.killed_when(lambda: regions.database.calls == ["switchover"])
        doubt = regions.dr("resume", "latest")
        assert doubt.status == 5, doubt.out + doubt.err
        assert f"after 1s, {regions.database.name} is pending, its writer" in doubt.out
    done = regions.dr("answer", "latest", "retry")
    assert done.status == 0, done.out + done.err
    assert regions.database.calls == ["switchover"]
    assert regions.weights == {"here": 0, "there": 100}


def test_killed_while_users_go_over_it_says_where_they_are_and_goes_on_when_told(regions: Regions) -> None:
    internet = regions.internet
    there, halfway = internet.sites.there, threading.Event()

    def hold_at_half(_: int) -> None:
        if regions.weights["there"] == 50:
            there.gate.clear()
            halfway.set()

    regions.run()
    there.before_answer = hold_at_half
    regions.killed_when(halfway.is_set)
    there.before_answer = lambda _: None
    there.gate.set()
    with users(internet.place, internet.sites.port, kept=KEPT) as errors:
        stands = regions.dr("resume", "latest")
        assert stands.status == 5, stands.out + stands.err
        assert "standby_percent: 50" in stands.out
        done = regions.dr("answer", "latest", "retry")
        assert done.status == 0, done.out + done.err
        assert internet.arrivals()[0] == 0
    assert not errors
    assert regions.database.calls == ["switchover"]
