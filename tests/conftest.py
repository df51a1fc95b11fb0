"""Real parts for every test that needs them."""

from collections.abc import Iterator

import pytest

from dr.demo.postgres import Pair, pair

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
