"""What the contract of all routers (test_read_routers) does not hold: sick sites, records not as they should be."""

import msgspec
import pytest

from dr.targets.cloud import NotReady
from dr.targets.protocols import Share
from dr.targets.route53 import Route53Traffic
from localstack.instance import LocalStack
from tests.here import opened
from tests.zone import Zone

pytestmark = pytest.mark.usefixtures("aws_credentials")


def test_users_are_not_sent_to_a_site_whose_health_check_fails_and_may_always_come_back(
    localstack: LocalStack,
) -> None:
    zone = Zone(localstack, {"here": 75, "there": 25})
    zone.checked("here", 75, Inverted=True)
    zone.checked("there", 25, Inverted=True)
    with opened(zone.traffic(localstack), timeout=60.0) as router:
        with pytest.raises(NotReady, match="the health check of there fails"):
            router.shift(Share(standby=50))
        assert zone.weights() == {"here": 75, "there": 25}
        router.shift(Share(standby=0))
    assert zone.weights() == {"here": 100, "there": 0}


def test_a_few_users_are_never_called_none_and_almost_all_never_all(localstack: LocalStack) -> None:
    for weights, percent in (({"here": 255, "there": 1}, 1), ({"here": 1, "there": 255}, 99)):
        with opened(Zone(localstack, weights).traffic(localstack)) as router:
            assert router.share() == Share(standby=percent)


def test_weights_that_are_all_zero_are_no_share(localstack: LocalStack) -> None:
    with opened(Zone(localstack, {"here": 0, "there": 0}).traffic(localstack)) as router:
        with pytest.raises(LookupError, match="all weights are 0, so Route 53 answers with every record alike"):
            router.share()
        router.shift(Share(standby=0))
        assert router.share() == Share(standby=0)


def test_a_site_that_has_no_record_is_named(localstack: LocalStack) -> None:
    config = msgspec.structs.replace(Zone(localstack, {"here": 1, "there": 0}).traffic(localstack), standby="nowhere")
    with opened(config) as router, pytest.raises(LookupError, match="has no record nowhere, only here, there"):
        router.ping()


def test_two_sites_have_two_records(localstack: LocalStack) -> None:
    right = msgspec.to_builtins(Zone(localstack, {"here": 1, "there": 0}).traffic(localstack))
    with pytest.raises(msgspec.ValidationError, match="primary and standby are one record"):
        msgspec.convert({**right, "standby": "here"}, Route53Traffic)


def test_an_answer_is_kept_for_as_long_as_the_record_that_is_kept_longest(localstack: LocalStack) -> None:
    zone = Zone(localstack, {"here": 1, "there": 0}, ttl=5)
    with opened(zone.traffic(localstack)) as router:
        assert router.time_to_live() == 5
        zone.alias("there", 0)
        assert router.time_to_live() == 60
