"""How an account of AWS is reached: what every target there takes in `dr.toml`. Loads nothing of boto3."""

from typing import Annotated

import msgspec

from dr.targets.protocols import TargetConfig

Region = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d+$")]
Endpoint = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s@]+$")]
RoleArn = Annotated[str, msgspec.Meta(pattern=r"^arn:[^:\s]*:iam::\d{12}:role/\S+$")]


class AwsAccess(TargetConfig, frozen=True, kw_only=True):
    """Where, and as whom. Not a target itself.

    Credentials are found as by every tool for AWS (variables, profiles, the machine's own role) and stand in no file of
    dr's. The region is never taken from there: a run that is resumed on another machine must act in the same one.
    """

    region: Region
    """Where it is; also if the machine's own settings name another one."""
    endpoint: Endpoint | None = None
    """Address that is asked instead of AWS's own."""
    profile: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Profile of this machine's AWS configuration."""
    role: RoleArn | None = None
    """Role to assume; run, step and attempt stand in the session's name, and so in CloudTrail."""
