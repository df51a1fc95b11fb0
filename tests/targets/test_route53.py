"""What a router by Route 53 does beside the contract of all routers, which is in test_read_routers.py."""

import pytest

from dr.targets.cloud import NotReady
from dr.targets.protocols import Share
from localstack.instance import LocalStack
from tests.here import opened
from tests.zone import Zone


@pytest.mark.usefixtures("aws_credentials")
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
