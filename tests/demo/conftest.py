from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from openfeature import api
from openfeature.client import OpenFeatureClient

from dr.demo import database, flags, postgres, shop, wait
from dr.demo.postgres import Pair
from dr.demo.shop import Pool

LOGINS = database.Logins(shop="its own", rescuer="another")


@pytest.fixture(scope="module")
def filled() -> Iterator[Pair]:
    """A primary and a standby that hold the shop's data."""
    with postgres.pair() as servers:
        database.fill(servers.primary, LOGINS)
        with servers.primary.connect() as primary, servers.standby.connect() as standby:
            written = primary.execute("select pg_current_wal_lsn()::text").fetchone()
            replayed = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait.until(lambda: standby.execute(replayed, written).fetchone() == (True,), 30, "the standby has it all")
        yield servers


@pytest.fixture
def pools(filled: Pair) -> Iterator[dict[str, Pool]]:
    with (
        shop.pool(LOGINS.shop_dsn(filled.primary), flags.PRIMARY) as primary,
        shop.pool(LOGINS.shop_dsn(filled.standby), flags.STANDBY) as standby,
    ):
        yield {flags.PRIMARY: primary, flags.STANDBY: standby}


@pytest.fixture
def flag_file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    flags.create(path)
    return path


@pytest.fixture
def features(flag_file: Path) -> Iterator[OpenFeatureClient]:
    yield flags.client(flag_file)
    api.shutdown()


@pytest.fixture
def visitor(pools: dict[str, Pool], features: OpenFeatureClient) -> FlaskClient:
    return shop.create_app(shop.Shop(pools, features)).test_client()
