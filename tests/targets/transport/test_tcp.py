import pytest

from dr.targets.haproxy import HaproxyTraffic
from dr.targets.http_endpoint import Http
from dr.targets.protocols import TargetConfig, TargetUnreachable
from dr.targets.ssh import SshGroup
from tests.here import opened

NO_NAME = ("db1..example", f"{'x' * 64}.example")
NO_PORT = "127.0.0.1:99999"


def haproxy(address: str) -> HaproxyTraffic:
    return HaproxyTraffic(backend="shop", primary_server="a", standby_server="b", address=address)


def assert_told(config: TargetConfig, words: str) -> None:
    with opened(config, name="there") as target, pytest.raises(TargetUnreachable, match=words):
        target.ping()


@pytest.mark.parametrize("name", NO_NAME)
def test_a_name_that_no_host_can_have_is_told(name: str) -> None:
    told = f"{name} is not the name of a host"
    assert_told(Http(url=f"http://{name}"), told)
    assert_told(haproxy(f"{name}:9999"), told)
    assert_told(SshGroup(hosts=(name,), user="dr", known_hosts="/dev/null"), told)


def test_a_port_that_cannot_be_is_not_taken_for_another_one() -> None:
    assert_told(haproxy(NO_PORT), "there is no port 99999")
    assert_told(SshGroup(hosts=(NO_PORT,), user="dr", known_hosts="/dev/null"), "there is no port 99999")
