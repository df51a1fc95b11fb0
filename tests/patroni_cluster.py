"""A real cluster that Patroni manages: two PostgreSQL servers, and raft, Patroni's own store, with a third vote.

Its REST API asks for a password and is reached by TLS, with a certificate of an authority made for it.
"""

import datetime as dt
import http.client
import ipaddress
import json
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dr.demo import account, wait
from dr.demo.postgres import SETTINGS, free_port, owner
from dr.demo.workspace import Workspace
from dr.targets.patroni import Patroni, PatroniMember
from tests.here import World

PROGRAMS = Path(__file__).parent.parent / "build" / "patroni-venv"
LIMIT = 90.0
PASSWORD = "s3cr3t-database"
API_PASSWORD = "s3cr3t-patroni"
SECRETS = {"env:PGTEST": PASSWORD, "env:PATRONI_API": API_PASSWORD}
QUICK = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
"""Seconds; the shortest that Patroni takes."""
POSTGRESQL = {
    "use_pg_rewind": True,
    "parameters": {key: SETTINGS[key] for key in SETTINGS if key not in {"listen_addresses", "wal_log_hints"}},
}


class PatroniNode:
    """One member: the Patroni process, and the PostgreSQL that it starts."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port, self.api, self.raft = free_port(), free_port(), free_port()
        self.data = folder / name
        self.folder = folder
        self.manager: psutil.Process

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres password={PASSWORD} dbname=postgres connect_timeout=5"

    @property
    def member(self) -> PatroniMember:
        return PatroniMember(name=self.name, api=f"https://127.0.0.1:{self.api}", at=f"127.0.0.1:{self.port}")

    def postgres(self) -> psutil.Process:
        """Its postmaster."""
        return psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))

    def writable(self) -> bool:
        try:
            with psycopg.connect(self.dsn, application_name="dr:test") as connection:
                row = connection.execute("select not pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0])

    def ask(self, path: str) -> Any:
        """What its REST API tells, asked without dr."""
        trusted = ssl.create_default_context(cafile=self.folder / "ca.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", self.api, timeout=30, context=trusted)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def configuration(self, votes: list[str], binaries: Path, timing: Mapping[str, int]) -> dict[str, Any]:
        folder, own = self.folder, f"127.0.0.1:{self.raft}"
        return {
            "scope": "shop",
            "name": self.name,
            "raft": {"data_dir": f"{folder}/{self.name}.raft", "self_addr": own,
                     "partner_addrs": [vote for vote in votes if vote != own]},
            "restapi": {
                "listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}",
                "certfile": f"{folder}/api.pem", "keyfile": f"{folder}/api.key",
                "authentication": {"username": "dr", "password": API_PASSWORD},
            },
            "ctl": {"cacert": f"{folder}/ca.pem"},
            "bootstrap": {"dcs": {**timing, "postgresql": POSTGRESQL}, "initdb": ["data-checksums", "no-sync"]},
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(binaries), "pgpass": f"{folder}/{self.name}.pgpass",
                "authentication": {"superuser": {"username": "postgres", "password": PASSWORD},
                                   "replication": {"username": "replicator", "password": PASSWORD}},
                "parameters": {"unix_socket_directories": str(folder)},
            },
        }  # fmt: skip


class PatroniCluster:
    def __init__(self, workspace: Workspace, nodes: tuple[PatroniNode, ...], prefix: tuple[str, ...]) -> None:
        self.nodes = nodes
        self._workspace = workspace
        self._prefix = prefix

    def config(self, **changes: Any) -> Patroni:
        """As `dr.toml` would say it."""
        given: dict[str, Any] = {
            "members": tuple(node.member for node in self.nodes),
            "dsn": "user=postgres dbname=postgres",
            "password": "env:PGTEST",
            "api_user": "dr",
            "api_password": "env:PATRONI_API",
            "ca": str(self._workspace.directory / "ca.pem"),
        }
        return Patroni(**{**given, **changes})

    def dsns(self) -> dict[str, str]:
        return {node.name: node.dsn for node in self.nodes}

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """A client that finds the primary by itself."""
        ports = ",".join(str(node.port) for node in self.nodes)
        return psycopg.connect(
            f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres password={PASSWORD} dbname=postgres "
            "connect_timeout=5 target_session_attrs=read-write application_name=shop",
            autocommit=True, **parameters,
        )  # fmt: skip

    def roles(self) -> tuple[PatroniNode, PatroniNode]:
        """The primary and the standby, when both are that."""

        def found() -> bool:
            listed.clear()
            try:
                listed.update({one["role"]: one for one in self.nodes[0].ask("/cluster")["members"]})
            except OSError:
                return False
            return self._is_whole(listed)

        listed: dict[str, Any] = {}
        wait.until(found, LIMIT, f"a leader and a standby that streams\n{self._workspace.tail('pg1.log')}")
        by_name = {node.name: node for node in self.nodes}
        return by_name[listed["leader"]["name"]], by_name[listed["replica"]["name"]]

    def start(self, node: PatroniNode) -> None:
        """Start the Patroni of a member, which starts its PostgreSQL."""
        reaper: list[str | Path] = [*self._prefix, sys.executable, Path(__file__).parent / "reaper.py"]
        program = [PROGRAMS / "bin" / "patroni", node.folder / f"{node.name}.yml"]
        above = psutil.Process(self._workspace.spawn([*reaper, *program], f"{node.name}.log").pid)
        wait.until(lambda: bool(above.children()), LIMIT, f"Patroni of {node.name}")
        [node.manager] = above.children()

    def start_witness(self) -> None:
        program = PROGRAMS / "bin" / "patroni_raft_controller"
        self._workspace.spawn([*self._prefix, program, self._workspace.directory / "witness.yml"], "witness.log")

    def ids(self, node: PatroniNode) -> set[int]:
        with psycopg.connect(node.dsn) as connection:
            return {int(str(row[0])) for row in connection.execute("select id from writes").fetchall()}

    @staticmethod
    def _is_whole(listed: dict[str, Any]) -> bool:
        if set(listed) != {"leader", "replica"}:
            return False
        leader, replica = listed["leader"], listed["replica"]
        return bool(
            leader["state"] == "running"
            and replica["state"] == "streaming"
            and leader.get("timeline") == replica.get("timeline")
        )


@contextmanager
def patroni_cluster(timing: Mapping[str, int] = QUICK) -> Iterator[PatroniCluster]:
    """A cluster of two; the test is skipped where Patroni is not installed."""
    if not (PROGRAMS / ".ready").exists():
        pytest.skip("Patroni is not installed: make build/patroni-venv/.ready")
    with Workspace() as workspace:
        folder = workspace.directory
        who = account.choose(folder)
        certificates(folder)
        nodes = tuple(PatroniNode(name, folder) for name in ("pg1", "pg2"))
        witness = f"127.0.0.1:{free_port()}"
        votes = [*(f"127.0.0.1:{node.raft}" for node in nodes), witness]
        raft = {"data_dir": f"{folder}/witness.raft", "self_addr": witness, "partner_addrs": votes[:-1]}
        (folder / "witness.yml").write_text(yaml.safe_dump({"scope": "shop", "name": "witness", "raft": raft}))
        for node in nodes:
            (folder / f"{node.name}.yml").write_text(yaml.safe_dump(node.configuration(votes, who.binaries, timing)))
        for file in folder.iterdir():
            os.chown(file, *owner(folder))
        whole = PatroniCluster(workspace, nodes, who.prefix)
        whole.start_witness()
        for node in nodes:
            whole.start(node)
        primary, _ = whole.roles()
        with psycopg.connect(primary.dsn) as connection:
            connection.execute("create table writes (id int, what text)")
        yield whole


def world(patroni: PatroniCluster, secrets: Mapping[str, str] | None = None, **changes: Any) -> World:
    """A world in which the target `cluster` is that one."""
    return World({"cluster": patroni.config(**changes)}, {**SECRETS, **(secrets or {})})


def certificates(folder: Path) -> None:
    """`ca.pem`, and `api.pem` with `api.key`, which it has signed for 127.0.0.1."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of a test")])
    now = dt.datetime.now(dt.UTC)

    def certificate(subject: x509.Name, of: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(ca_name, subject, of.public_key(), x509.random_serial_number(), now,
                                          now + dt.timedelta(days=1))  # fmt: skip
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        signed = builder.add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)

    (folder / "ca.pem").write_bytes(certificate(ca_name, ca_key, ca=True))
    api_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api of a test")])
    (folder / "api.pem").write_bytes(certificate(api_name, key, ca=False))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "api.key").write_bytes(private)
