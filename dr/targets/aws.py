"""An account of AWS in one region. boto3 is loaded when the first one is opened."""

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from dr.targets.cloud import CapacityGroups, Functions, ManagedDatabases, Parameters, WeightedRecords
from dr.targets.protocols import Opening
from dr.targets.transport.aws_access import AwsAccess

if TYPE_CHECKING:
    from dr.targets.transport.aws_api import Api


class Aws(AwsAccess, frozen=True, kw_only=True, tag="aws"):
    """An account of AWS in one region."""

    speaks: ClassVar[tuple[str, ...]] = ("CloudAccount",)


def open_target(config: Aws, opening: Opening) -> "AwsAccount":
    """The account, opened. Nothing is asked yet."""
    from dr.targets.transport import aws_api

    return AwsAccount(aws_api.Api(config, opening))


class AwsAccount:
    """A CloudAccount. What a step does not use of it is not loaded."""

    def __init__(self, api: "Api") -> None:
        self._api = api

    def ping(self) -> None:
        """The credentials are good; this takes no permission."""
        self._api.ask("sts", "get_caller_identity")

    def close(self) -> None:
        pass

    @cached_property
    def parameters(self) -> Parameters:
        from dr.targets.transport.aws_parameters import SsmParameters

        return SsmParameters(self._api)

    @cached_property
    def capacity_groups(self) -> CapacityGroups:
        from dr.targets.transport.aws_capacity import AutoScalingGroups

        return AutoScalingGroups(self._api)

    @cached_property
    def weighted_records(self) -> WeightedRecords:
        from dr.targets.transport.aws_records import Route53Records

        return Route53Records(self._api)

    @cached_property
    def functions(self) -> Functions:
        from dr.targets.transport.aws_functions import LambdaFunctions

        return LambdaFunctions(self._api)

    @cached_property
    def databases(self) -> ManagedDatabases:
        from dr.targets.transport.aws_databases import RdsDatabases

        return RdsDatabases(self._api)
