"""Real parts for every test that needs them."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dr.demo.postgres import Pair, pair
from tests.patroni_cluster import PatroniCluster, patroni_cluster
from tests.sshd import Fleet, fleet

# No test is a claim about time: a loaded machine is slow at making examples, too.
settings.register_profile("dr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dr")

# A shell that starts this process in the background has it ignore Ctrl-C, and with it all that it starts: a test that
# interrupts a program would wait for its end for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.keyring", "tests.localstack_fixture", "tests.moto_fixture"]


@pytest.fixture(scope="session")
def postgres_pair() -> Iterator[Pair]:
    """A PostgreSQL primary and its standby, shared by all tests: leave them as you found them."""
    with pair() as servers:
        yield servers


@pytest.fixture
def fresh_postgres_pair() -> Iterator[Pair]:
    """A PostgreSQL primary and its standby that the test may stop, kill, promote or fill."""
    with pair() as servers:
        yield servers


@pytest.fixture(scope="session")
def patroni() -> Iterator[PatroniCluster]:
    """A cluster that Patroni manages, shared by all tests (its start takes 10 s): leave both members well."""
    with patroni_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ssh_fleet() -> Iterator[Fleet]:
    """Three hosts to reach over SSH, shared by all tests: leave them as you found them."""
    with fleet(3) as hosts:
        yield hosts


@pytest.fixture
def fresh_ssh_fleet() -> Iterator[Fleet]:
    """Three hosts that the test may freeze or kill."""
    with fleet(3) as hosts:
        yield hosts
