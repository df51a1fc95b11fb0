"""Groups of Amazon EC2 Auto Scaling. Loads boto3."""

from dr.targets.cloud import Capacity
from dr.targets.transport.aws_api import Api


class AutoScalingGroups:
    """CapacityGroups (`dr.targets.cloud`)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def read(self, group: str) -> Capacity:
        answer = self._api.ask("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[group])
        if not answer["AutoScalingGroups"]:
            raise LookupError(f"there is no Auto Scaling group {group!r}")
        [found] = answer["AutoScalingGroups"]
        well = [
            machine
            for machine in found.get("Instances", ())
            if machine["LifecycleState"] == "InService" and machine["HealthStatus"].lower() == "healthy"
        ]
        return Capacity(
            least=found["MinSize"], most=found["MaxSize"], desired=found["DesiredCapacity"], in_service=len(well)
        )

    def write(self, group: str, *, least: int, most: int, desired: int) -> None:
        sizes = {"MinSize": least, "MaxSize": most, "DesiredCapacity": desired}
        self._api.ask("autoscaling", "update_auto_scaling_group", AutoScalingGroupName=group, **sizes)
