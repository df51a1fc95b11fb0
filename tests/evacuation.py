"""A region that is left: what its runbooks need beside the database.

Route 53 and SNS are LocalStack's, Auto Scaling is moto's; the users' name leads to a real site in each region.
"""

from pathlib import Path
from typing import Final

from localstack.instance import CREDENTIALS, REGION, LocalStack
from tests.cli.shell import Outcome, dr, environment, journal
from tests.internet import Internet
from tests.moto_fixture import Group, Moto
from tests.topic import Topic

KEPT: Final = 1
"""Seconds for which resolvers keep an answer."""
TOML = """\
[environments.test.targets.there]
type = "aws"
region = "{there}"
endpoint = "{moto}"
[environments.test.targets.people]
type = "sns"
region = "{region}"
endpoint = "{localstack}"
topic = "{topic}"
"""


class Evacuation:
    """The desk from which it is left, on a machine that asks a resolver for the users' name."""

    def __init__(
        self, folder: Path, runbook: str, localstack: LocalStack, moto: Moto, internet: Internet, *, there: str = REGION
    ) -> None:
        self.folder, self.runbook, self.internet = folder, runbook, internet
        self.topic, self.group = Topic(localstack), Group(moto, there)
        self.machine = internet.machine(folder)
        self.variables = dict(CREDENTIALS)
        self.parameters = {"group": self.group.name, "served-here": "from here", "served-there": "from there"}
        places = {"moto": moto.endpoint, "localstack": localstack.endpoint, "region": REGION, "there": there}
        self.toml = TOML.format(**places, topic=self.topic.arn) + internet.toml()

    def dr(self, *arguments: str) -> Outcome:
        return dr(self.folder, *arguments, on=self.machine, **self.variables)

    def environment(self) -> dict[str, str]:
        """For a `dr` in the background."""
        return environment(self.folder, **self.variables)

    def evacuate(self, command: str, *arguments: str) -> Outcome:
        given = [word for name, value in self.parameters.items() for word in ("-p", f"{name}={value}")]
        return self.dr(command, self.runbook, "--env", "test", *arguments, *given)

    def run(self, *arguments: str) -> Outcome:
        """To the question whether to go."""
        asked = self.evacuate("run", "--yes", "-p", "watch=300ms", *arguments)
        assert asked.status == 5, asked.out + asked.err
        assert "Move the database and the users there?" in asked.out
        return asked

    def go(self) -> Outcome:
        return self.dr("answer", "latest", "yes")

    def stages(self) -> list[int]:
        """The shares that were set."""
        claims = [event.get("claim", {}) for event in journal(self.folder)]
        return [stage["standby_percent"] for claim in claims for stage in claim.get("stages", ())]
