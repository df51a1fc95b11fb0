"""Where an operator changes the primary of a cluster: a folder with the runbooks, and which server has which role."""

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.demo import wait
from tests.cli.shell import ROOT, Outcome, dr, environment, journal, started, types, until, write
from tests.cluster import LIMIT, Cluster, Node
from tests.website import Site

SWITCH = "runbooks/database-switchover.yaml"
FAIL = "runbooks/database-failover.yaml"
BACK = "runbooks/failback.yaml"
RESTORE = "runbooks/restore-from-backup.yaml"
EVACUATE = "runbooks/region-evacuate.yaml"
NEVER_RECEIVED = -7
"""The row that only a primary has which died: it is discarded when that one is rewound."""


class Desk:
    """The runbooks are those of the project, but that nothing is waited for as long as there.

    The shop is looked at by its own address, or by its users' `door`.
    """

    def __init__(
        self, folder: Path, servers: Cluster, shop: Site, primary: Node, standby: Node, *, door: str = ""
    ) -> None:
        self.folder = folder
        self.servers = servers
        self.shop = shop
        self.primary, self.standby = primary, standby
        self.variables = {"PGTEST": servers.secrets["env:PGTEST"]}
        toml = servers.toml() + f'[environments.test.targets.shop]\ntype = "http"\nurl = "{door or shop.url}"\n'
        texts = {
            name: quick((ROOT / name).read_text(encoding="utf-8")) for name in (SWITCH, FAIL, BACK, RESTORE, EVACUATE)
        }
        write(folder, {"dr.toml": toml, **texts})

    def dr(self, *arguments: str) -> Outcome:
        return dr(self.folder, *arguments, **self.variables)

    def arguments(self, runbook: str) -> tuple[str, ...]:
        roles = (f"primary={self.primary.name}", "-p", f"standby={self.standby.name}")
        return ("run", runbook, "--env", "test", "--yes", "-p", *roles)

    def background(self, *arguments: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """`dr` with these arguments, in the background."""
        return started(self.folder, *arguments, env=environment(self.folder, **self.variables))

    def until(self, boundary: str, process: subprocess.Popen[bytes], nth: int = 1) -> None:
        """Return as soon as there is the nth such entry, or the process has ended."""
        until(lambda: self.reached(boundary, nth) or process.poll() is not None)

    def reached(self, boundary: str, nth: int = 1) -> bool:
        return types(self.folder).count(boundary) >= nth

    def primary_dies(self) -> None:
        """It has written what nobody received, so it must be rewound before it follows.

        The standby knows no primary, and a rewind makes its settings a copy: the rewound one must be told where to
        stream.
        """
        with self.standby.server.connect() as standby:
            standby.execute("alter system set primary_conninfo = ''")
            standby.execute("select pg_reload_conf()")
        gone = "select not exists (select from pg_stat_wal_receiver)"
        wait.until(lambda: self.standby.ask(gone) is True, LIMIT, "the end of the stream")
        with self.primary.server.connect() as primary:
            primary.execute("insert into writes values (%s, 'never received')", [NEVER_RECEIVED])
        self.primary.kill()

    def to_the_end(self, enough: Callable[[], bool] = lambda: False) -> None:
        """What an operator does: resume, agree where the runbook asks, and try again what failed, if not `enough`."""
        for _ in range(7):
            match [event for event in journal(self.folder) if event["type"] != "run-resumed"][-1]:
                case {"type": "run-ended"}:
                    return
                case {"type": "paused", "question": {"about": "failed"}} if enough():
                    return
                case {"type": "paused", "question": {"choices": choices}}:
                    done = self.dr("answer", "latest", "yes" if "yes" in choices else "retry")
                case _:
                    done = self.dr("resume", "latest")
            assert done.status in {0, 5}, done.out + done.err
        pytest.fail(self.dr("show", "latest").out)


def quick(runbook: str) -> str:
    """The same, where what is seen once is good enough, and what cannot become well is not waited for long."""
    return (
        runbook.replace("  hold: 5s\n  checks", "  checks")
        .replace("  within: 30s\n", "  within: 1s\n")
        .replace("      diverged:", "      streams_within: 1s\n      diverged:")
    )
