"""moto, for the parts of AWS that LocalStack without Docker lacks: Auto Scaling, Lambda, RDS.

It keeps state and checks parameters; what it changes is there at once, where AWS takes minutes.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dr.targets.aws import Aws
from localstack.instance import CREDENTIALS, REGION
from tests.here import World
from tests.localstack_fixture import set_credentials


class Moto:
    """A running moto."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = boto3.Session()
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str = REGION) -> Any:
        """A client that stands outside dr, made once: making one costs more than what a test asks of it."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self._make(service, region)
        return self._clients[service, region]

    def _make(self, service: str, region: str) -> Any:
        return self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )


class Group:
    """An Auto Scaling group of 2 machines, of at most 10."""

    def __init__(self, moto: Moto, region: str = REGION) -> None:
        self._client = moto.client("autoscaling", region)
        self.name = f"web-{uuid.uuid4().hex[:8]}"
        image = moto.client("ec2", region).describe_images()["Images"][0]["ImageId"]
        self._client.create_launch_configuration(
            LaunchConfigurationName=self.name, ImageId=image, InstanceType="t3.micro"
        )
        self._client.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            LaunchConfigurationName=self.name,
            AvailabilityZones=[f"{region}a"],
            MinSize=1,
            MaxSize=10,
            DesiredCapacity=2,
        )

    def set(self, **sizes: int) -> None:
        self._client.update_auto_scaling_group(AutoScalingGroupName=self.name, **sizes)

    def sicken(self) -> None:
        [machine, *_] = self._found()["Instances"]
        self._client.set_instance_health(InstanceId=machine["InstanceId"], HealthStatus="Unhealthy")

    @property
    def sizes(self) -> tuple[int, int, int]:
        found = self._found()
        return found["MinSize"], found["MaxSize"], found["DesiredCapacity"]

    def _found(self) -> dict[str, Any]:
        [found] = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return dict(found)


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """Shared by all tests: what you create in it has a name of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield Moto(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


@pytest.fixture
def moto_cloud(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which the target `cloud` is moto."""
    set_credentials(monkeypatch)
    return World({"cloud": Aws(region=REGION, endpoint=moto.endpoint)})
