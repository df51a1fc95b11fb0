"""Two sites behind one name: a zone of LocalStack, name servers that answer from it, and machines with resolvers.

What runs on such a machine asks its resolver as any program does: through the C library, on port 53.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dr.demo import wait
from localstack.instance import REGION, LocalStack
from tests.name_server import Answering, NameServer, serving
from tests.namespaces import resolved_by
from tests.website import Pair, two_sites
from tests.zone import NAME, Zone

TOML = """\
[environments.test.targets.users]
type = "route53-traffic"
region = "{region}"
endpoint = "{endpoint}"
zone = "{zone}"
name = "{name}"
primary = "here"
standby = "there"
[environments.test.targets.shop-there]
type = "http"
url = "{there}"
"""


class Internet:
    """The sites `here` and `there`; all users are sent to the first. Resolvers keep an answer for so many seconds."""

    def __init__(self, localstack: LocalStack, sites: Pair, stack: ExitStack, kept: int) -> None:
        self._endpoint, self._stack = localstack.endpoint, stack
        self.sites = sites
        self.zone = Zone(localstack, {"here": 100, "there": 0}, at=sites.addresses, ttl=kept)
        self.servers = NameServer(self.zone)
        self.place = stack.enter_context(serving(self.servers.answer))

    @property
    def door(self) -> str:
        """The shop as its users name it."""
        return f"http://{NAME}:{self.sites.port}"

    def toml(self) -> str:
        """The targets `users` and `shop-there`."""
        names = {"region": REGION, "endpoint": self._endpoint, "zone": self.zone.id, "name": NAME}
        return TOML.format(**names, there=self.sites.there.url)

    def machine(self, folder: Path, asks: Answering | None = None) -> list[str]:
        """The command that runs another one where the resolver answers so; without `asks`, as the zone is by then."""
        home = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            self._stack.enter_context(serving(asks or self.servers.answer, home, 53))
        except PermissionError:
            pytest.skip("the port 53 of a resolver needs root")
        return resolved_by(home, folder)

    def arrivals(self) -> tuple[int, int]:
        """Where the next visits arrive."""
        here, there = self.sites.asked
        wait.until(lambda: sum(self.sites.asked) >= here + there + 50, 30, "there are visits")
        return self.sites.here.asked - here, self.sites.there.asked - there


@contextmanager
def two_sites_by_name(localstack: LocalStack, *, kept: int) -> Iterator[Internet]:
    """Until the end; a test ends in failure if the zone was ever found between two states."""
    with two_sites() as sites, ExitStack() as stack:
        yield Internet(localstack, sites, stack, kept)
