"""Where an operator changes the primary of a cluster: a folder with the runbooks, and which server has which role."""

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, Outcome, dr, environment, journal, started, types, until, write
from tests.cluster import Cluster, Node
from tests.website import Site

SWITCH = "runbooks/database-switchover.yaml"
FAIL = "runbooks/database-failover.yaml"
BACK = "runbooks/failback.yaml"
RESTORE = "runbooks/restore-from-backup.yaml"
EVACUATE = "runbooks/region-evacuate.yaml"


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
        until(lambda: types(self.folder).count(boundary) >= nth or process.poll() is not None)

    def to_the_end(self) -> None:
        """What an operator does: resume, agree where the runbook asks, and try again what failed."""
        status = self.dr("resume", "latest").status
        for _ in range(6):
            if status in {0, 13}:
                return
            assert status == 5, self.dr("show", "latest").out
            asked = next(event for event in reversed(journal(self.folder)) if event["type"] == "paused")
            answer = "yes" if "yes" in asked["question"]["choices"] else "retry"
            status = self.dr("answer", "latest", answer).status
        pytest.fail(self.dr("show", "latest").out)


def quick(runbook: str) -> str:
    """The same, where what is seen once is good enough, and what cannot become well is not waited for long."""
    return (
        runbook.replace("  hold: 5s\n  checks", "  checks")
        .replace("  within: 30s\n", "  within: 1s\n")
        .replace("      diverged:", "      streams_within: 1s\n      diverged:")
    )
