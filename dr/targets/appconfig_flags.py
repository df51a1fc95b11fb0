"""Feature flags of AWS AppConfig. boto3 is loaded when the store is opened.

A profile of the type AWS.AppConfig.FeatureFlags keeps all flags of an application in one JSON document, in versions; an
environment is given a version by a deployment, of which there is one at a time.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from dr.targets.protocols import Conflict, FlagState, Opening, TargetUnreachable
from dr.targets.transport import json_text
from dr.targets.transport.aws_access import AwsAccess
from dr.targets.transport.flags import listed, must_write

if TYPE_CHECKING:
    from dr.targets.transport.aws_deployments import Deployments, Rollout

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{4,7}$")]


class AppConfigFlags(AwsAccess, frozen=True, kw_only=True, tag="appconfig-flags"):
    """A feature-flag profile of AWS AppConfig, as one environment is given it."""

    speaks: ClassVar[tuple[str, ...]] = ("FlagStore",)

    application: Identifier
    """Its id, such as `abc1234`; not its name."""
    environment: Identifier
    """Id of the environment whose applications get the change."""
    configuration_profile: Identifier
    """Id of the profile, which is of the type AWS.AppConfig.FeatureFlags."""
    strategy: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]{4,7}|AppConfig\.[A-Za-z0-9]{9,40})$")]
    """Deployment strategy by which changes are handed out. While it bakes, nothing else can be deployed there."""


def open_target(config: AppConfigFlags, opening: Opening) -> "AppConfigFlagStore":
    """The store, opened. Nothing is asked yet."""
    from dr.targets.transport.aws_api import Api
    from dr.targets.transport.aws_deployments import Deployments

    return AppConfigFlagStore(
        Deployments(
            Api(config, opening), config.application, config.environment, config.configuration_profile, config.strategy
        )
    )


class AppConfigFlagStore:
    """A FlagStore. A flag stands as the environment is given it, not as the newest version of the document has it.

    A change is made to the version that is deployed: a draft that somebody keeps in a newer one must not go out with
    it. It goes out only if neither a version nor a deployment was made since the look. Back is a deployment of its own,
    of the newest document with the one flag as it was: the version before would take back what others changed since.
    Only a deployment of the same step that is not through yet is stopped, and so rolled back.
    """

    def __init__(self, deployments: "Deployments") -> None:
        self._deployments = deployments

    def ping(self) -> None:
        self._deployments.ping()

    def close(self) -> None:
        pass

    def read(self, flag: str) -> FlagState:
        rollout = self._deployments.rollout()
        state = _state(self._deployments.document(rollout.version), flag)
        return msgspec.structs.replace(state, arriving=rollout.arriving)

    def write(self, flag: str, state: FlagState, *, expected: FlagState) -> FlagState:
        if state.variant:
            raise LookupError(f"flags of AppConfig that dr switches have no variants, so not {state.variant!r}")
        rollout = self._deployments.rollout()
        text = self._deployments.document(rollout.version)
        if must_write(flag, _state(text, flag), state, expected=expected):
            if rollout.under_way is not None:
                self._stop(rollout, flag, state)
            else:
                self._deployments.deploy(json_text.put(text, ("values", flag, "enabled"), state.enabled), rollout)
        return self.read(flag)

    def _stop(self, rollout: "Rollout", flag: str, state: FlagState) -> None:
        """Stop the deployment under way, if it is this step's and the version before it has the flag as wanted."""
        ours = self._deployments.is_ours(rollout)
        if not ours or rollout.before is None or _state(self._deployments.document(rollout.before), flag) != state:
            raise Conflict(
                f"deployment {rollout.under_way} is under way, and AppConfig begins no other in an environment until "
                "it has ended, its bake time included"
            )
        self._deployments.stop(rollout)


class _Value(msgspec.Struct, frozen=True):
    """What dr reads of a flag's value; its attributes are left alone."""

    enabled: bool | None = None


def _state(text: str, flag: str) -> FlagState:
    """The flag as the document has it.

    Raises:
        LookupError: there is no such flag, or it has variants, each with a rule and a state of its own.
        TargetUnreachable: it is no document of flags.
    """
    try:
        document = json_text.parse(text)
    except json_text.NotJson as error:
        raise TargetUnreachable(f"the configuration is not JSON: {error}") from None
    values = document.get("values", {}) if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise TargetUnreachable("the configuration is not one of feature flags: it has no `values`")
    if flag not in values:
        raise LookupError(f"what is deployed has no flag {flag!r}, only {listed(values)}")
    try:
        value = msgspec.convert(values[flag], _Value)
    except msgspec.ValidationError as error:
        raise LookupError(f"the flag {flag!r} is not as AppConfig defines it: {error}") from None
    if value.enabled is None:
        raise LookupError(f"the flag {flag!r} has variants; each is on or off by itself, and dr switches none of them")
    return FlagState(enabled=value.enabled, variant="")
