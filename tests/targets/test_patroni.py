"""What `dr.toml` says about a cluster that Patroni manages. What is done with it: tests/steps/roles."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.targets.patroni import Patroni
from dr.targets.protocols import TargetUnreachable
from dr.targets.switching import ManagedCluster, Member
from tests.here import opened
from tests.patroni_cluster import PatroniCluster, world

MEMBERS = [
    {"name": "pg1", "api": "https://10.0.0.1:8008", "at": "10.0.0.1:5432"},
    {"name": "pg2", "api": "https://10.0.0.2:8008", "at": "10.0.0.2:5432"},
]
GOOD: dict[str, Any] = {"type": "patroni", "members": MEMBERS, "dsn": "user=dr dbname=postgres"}


@pytest.mark.parametrize(
    "change, what",
    [
        ({"members": [MEMBERS[0], MEMBERS[0]]}, "two of them have the same name"),
        ({"members": [{**MEMBERS[0], "api": "https://dr:pw@10.0.0.1"}, MEMBERS[1]]}, "api_user"),
        ({"members": [{**MEMBERS[0], "at": "10.0.0.1 password=x:5432"}, MEMBERS[1]]}, "matching regex"),
        ({"dsn": "user=dr password=hidden"}, "it holds a password"),
        ({"api_user": "dr"}, "write both or none"),
        ({"api_password": "env:PW"}, "write both or none"),
        ({"api_user": "dr", "api_password": "literal"}, "api_password: write where the secret stands"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_declared_wrongly_is_refused(change: dict[str, Any], what: str) -> None:
    msgspec.convert(GOOD, Patroni)
    with pytest.raises(msgspec.ValidationError, match=what) as refused:
        msgspec.convert({**GOOD, **change}, Patroni)
    assert "hidden" not in str(refused.value)


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = msgspec.convert({**GOOD, "ca": str(tmp_path / "ca.pem")}, Patroni)
    with pytest.raises(TargetUnreachable, match=r"ca\.pem: No such file"), opened(missing):
        pass


def test_members_are_seen_in_postgresql_itself(patroni: PatroniCluster) -> None:
    primary, standby = patroni.roles()
    with world(patroni).look() as here:
        cluster = here.reach(ManagedCluster, "cluster")
        assert cluster.leader() == primary.name
        members = cluster.members()
        assert cluster.settles_within() == 1 + 20
    assert members[primary.name] == Member(situation="writable", managed=True, timeline=members[standby.name].timeline)
    assert members[standby.name].situation == "standby"
    assert members[standby.name].heard is not None
    assert members[standby.name].received > 0
