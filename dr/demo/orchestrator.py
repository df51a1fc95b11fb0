"""`dr` as a process of its own, as an operator runs it: followed by what it writes, killed like any other process."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dr.core.events import Entry, decode_entry
from dr.demo import flags
from dr.demo.database import SHOP
from dr.demo.stage import Stage
from dr.demo.workspace import Workspace
from dr.errors import Deviated

ENVIRONMENT = "demo"
STANDS = "everything that was started is gone"
POLL = 0.02  # seconds between two looks for further entries

# The DSNs hold passwords: they are in the environment of the process, and only their names are in the file.
CONFIGURATION = """\
[journal]
directory = {journal}

[environments.{environment}.targets]
primary = {{type = "postgresql", dsn = "env:DR_DEMO_PRIMARY"}}
standby = {{type = "postgresql", dsn = "env:DR_DEMO_STANDBY"}}
flags = {{type = "flagd-file", path = {flags}}}
shop = {{type = "http", url = "http://127.0.0.1:{port}"}}

[environments.{environment}.targets.reads]
type = "flagd-reads"
path = {flags}
flag = "{reads_from}"
primary = "primary"
standby = "standby"
application = "{application}"
"""


class Orchestrator:
    """The `dr` command with a `dr.toml` for the stage, its journal in the workspace."""

    def __init__(self, workspace: Workspace, stage: Stage) -> None:
        self.journal = workspace.directory / "journal"
        self._workspace = workspace
        self._config = workspace.directory / "dr.toml"
        self._config.write_text(
            CONFIGURATION.format(
                journal=json.dumps(str(self.journal)),  # a JSON string is a TOML string
                flags=json.dumps(str(stage.flags)),
                port=stage.port,
                environment=ENVIRONMENT,
                reads_from=flags.READS_FROM,
                application=SHOP,
            )
        )
        self._environment = {
            "DR_DEMO_PRIMARY": stage.logins.rescuer_dsn(stage.servers.primary),
            "DR_DEMO_STANDBY": stage.logins.rescuer_dsn(stage.servers.standby),
        }

    def start(self, *arguments: str) -> "Following":
        """Start `dr` with these arguments; it writes every entry as it stores it."""
        argv = [sys.executable, "-m", "dr", *arguments, "--json", "--config", str(self._config)]
        log = f"dr-{arguments[0]}.log"
        return Following(self._workspace, self._workspace.spawn(argv, log, env=self._environment), log)

    def verify(self, run: str, journal: Path) -> str:
        """What `dr audit verify` says of a run. Raises CommandFailed if it does not verify."""
        argv = [sys.executable, "-m", "dr", "audit", "verify", run, "--journal", str(journal)]
        self._workspace.run(argv, "dr-verify.log")
        return self._workspace.tail("dr-verify.log")


class Following:
    """A running `dr`: iterate over its entries until it has ended, as it writes them."""

    def __init__(self, workspace: Workspace, process: subprocess.Popen[bytes], log: str) -> None:
        self._workspace = workspace
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: it ends where it is, and learns nothing of it."""
        self._process.kill()

    def __iter__(self) -> Iterator[Entry]:
        """The entries; ends when the process has ended and everything it wrote was read."""
        with (self._workspace.directory / self._log).open("rb") as log:
            rest = b""
            while True:
                ended = self._process.poll() is not None  # looked at before reading: nothing comes after the last read
                *lines, rest = (rest + log.read()).split(b"\n")
                yield from (decode_entry(line) for line in lines if line.startswith(b"{"))
                if ended:
                    return
                time.sleep(POLL)

    def check(self) -> None:
        """Raises Deviated with its last words, if it has not ended in success."""
        status = self._process.wait()
        if status:
            lines = (self._workspace.directory / self._log).read_text().splitlines()
            words = "\n".join(line for line in lines if not line.startswith("{"))
            raise Deviated(f"dr ended with status {status} instead of recovering the shop\n{words}", stands=STANDS)
