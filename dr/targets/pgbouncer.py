"""Reads moved by PgBouncer: entries of its [databases] section point to the primary or to the standby.

The ini is edited, because what is only set on the console is gone after a restart, and RELOAD puts it in force: each
pooled connection to the old server ends as it is given back. RECONNECT after it was tried and rejected: it drops the
new connections, too.
"""

import time
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from dr.core.secret import SecretRef, check_reference
from dr.targets.protocols import DatabaseName, LocalPath, Opening, Share, TargetConfig
from dr.targets.transport.dsn import Address
from dr.targets.transport.pgbouncer_ini import Entry, point
from dr.targets.transport.program import HostName
from dr.targets.transport.textfile import AnyFile, file_on

if TYPE_CHECKING:
    from dr.targets.transport.libpq import Client

QUICK_RETRY: Final = 0.1
"""Seconds; PgBouncer's default is 15."""
LONGEST_WAIT: Final = 1.0
POLL: Final = 0.005
CL_WAITING, SV_LOGIN = "cl_waiting", "sv_login"
"""Columns of SHOW POOLS; their places differ between versions."""


class PgbouncerReads(TargetConfig, frozen=True, tag="pgbouncer-reads"):
    """Entries of a PgBouncer that take an application's reads to one server or the other, each as a whole."""

    speaks: ClassVar[tuple[str, ...]] = ("ReadRouter",)

    path: LocalPath
    """PgBouncer's ini."""
    console: Address
    """Where PgBouncer listens."""
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(min_length=1, max_length=50)]
    """The [databases] entries that are moved, in this order."""
    primary: DatabaseName
    """Name of the target that is the primary database."""
    standby: DatabaseName
    """Name of the target that takes the reads."""
    primary_at: Address
    """Where PgBouncer reaches the primary."""
    standby_at: Address
    """Where PgBouncer reaches the standby."""
    application: str
    """application_name of the sessions that read."""
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where the ini is, if that is another machine."""
    user: str = "pgbouncer"
    """A user of PgBouncer's `admin_users`."""
    password: SecretRef | None = None

    def __post_init__(self) -> None:
        check_reference("password", self.password)


def open_target(config: PgbouncerReads, opening: Opening) -> "PgbouncerReadRouter":
    """Connect to the admin console. Raises TargetUnreachable."""
    from dr.targets.transport import libpq

    file = file_on(config.ssh, opening, config.path)
    host, port = config.console.rsplit(":", 1)
    parameters = {"host": host, "port": port, "user": config.user, "dbname": "pgbouncer"}
    if config.password is not None:
        parameters["password"] = opening.secret(config.password)
    return PgbouncerReadRouter(config, file, libpq.connect(opening, parameters, simple=True))


class PgbouncerReadRouter:
    """A ReadRouter. With n entries it has n steps: the first k of them are moved, the others not."""

    def __init__(self, config: PgbouncerReads, file: AnyFile, console: "Client") -> None:
        self.primary = config.primary
        self.standby = config.standby
        self.application = config.application
        self._config = config
        self._file = file
        self._console = console

    def ping(self) -> None:
        self.share()

    def close(self) -> None:
        self._console.close()
        self._file.close()

    def shares(self) -> tuple[int, ...]:
        count = len(self._config.entries)
        return tuple(round(100 * moved / count) for moved in range(count + 1))

    def share(self) -> Share:
        """What is in force, as the console says: the ini may have been edited and not reloaded."""
        in_force = {row["name"]: f"{row['host']}:{row['port']}" for row in self._console.records("SHOW DATABASES")}
        moved = 0
        for entry in self._config.entries:
            at = in_force.get(entry)
            if at not in {self._config.primary_at, self._config.standby_at}:
                raise LookupError(f"PgBouncer's {entry} points to {at}, neither the primary nor the standby")
            moved += at == self._config.standby_at
        return Share(standby=self.shares()[moved])

    def time_to_live(self) -> float:
        return 0.0

    def shift(self, share: Share) -> None:
        if share.standby not in self.shares():
            raise LookupError(f"{share.standby} percent cannot be set: {_entries(self._config)} give {self.shares()}")
        moved = self.shares().index(share.standby)
        config = self._config
        wanted = {
            entry: config.standby_at if place < moved else config.primary_at
            for place, entry in enumerate(config.entries)
        }
        self._file.rewrite(lambda text: point(text, wanted))
        self._reload()

    def _reload(self) -> None:
        """Put the ini in force. Also when it is already as wanted: a crash may have come before the reload.

        A connection that is just logging in while its entry changes counts as a failed login, and then the entry's
        clients get errors for server_login_retry (15 s). So logins are waited for. Where there is always one, on a
        server that hardly answers, PgBouncer is told to try again at once, until its clients have been served.
        """
        [retry] = [row["value"] for row in self._console.records("SHOW CONFIG") if row["key"] == "server_login_retry"]
        self._wait_until_none(SV_LOGIN)
        self._console.command("RELOAD")
        self._console.command(f"SET server_login_retry = '{QUICK_RETRY}'")
        try:
            self._wait_until_none(CL_WAITING)
        finally:
            self._console.command(f"SET server_login_retry = '{retry}'")

    def _wait_until_none(self, column: str) -> None:
        """Until that column of SHOW POOLS is 0 for all entries, but no longer than it makes sense to wait."""
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end:
            pools = self._console.records("SHOW POOLS")
            if not any(pool[column] for pool in pools if pool["database"] in self._config.entries):
                return
            time.sleep(POLL)


def _entries(config: PgbouncerReads) -> str:
    return f"{len(config.entries)} entries" if len(config.entries) > 1 else "1 entry"
