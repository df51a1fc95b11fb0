"""A runbook as it is written: types of the YAML file, before it is bound to an environment.

Every limit here is part of safety rule 15.
"""

from typing import Annotated, Any, Literal

import msgspec

from dr.core.duration import Duration, duration

MAX_BYTES = 1_000_000
"""Size of a runbook file. 10,000 steps fit; a 10 MB file is a mistake."""
MAX_STEPS = 20_000
MAX_DEPTH = 20
"""How deeply values may be nested."""

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
OnFailure = Literal["pause", "rollback", "continue"]
Mode = Literal["graceful", "ungraceful"]
ParameterValue = str | int | float | bool


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a step is attempted, and how long to wait between two attempts.

    The waits are those of tenacity: `fixed` waits `wait` each time, `exponential` doubles it up to `max`; `jitter` adds
    a random time up to its value.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    strategy: Literal["fixed", "exponential"] = "exponential"
    wait: Duration = duration("500ms")
    max: Duration = duration("10s")
    jitter: Duration = duration("0s")


_RETRY = Retry()


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A typed value that is given when the runbook is run."""

    type: Literal["string", "integer", "number", "boolean", "duration"] = "string"
    description: str = ""
    default: ParameterValue | None = None
    """Without a default the parameter must be given."""
    choices: tuple[ParameterValue, ...] = ()


class Objectives(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the recovery is measured against."""

    rto: Duration | None = None
    """Recovery time objective: from detection until the steady state has held."""
    rpo: Duration | None = None
    """Recovery point objective: how much of the newest data may be lost."""


class StepSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"params": "with"}):
    """One step as written. `with` holds the parameters of its kind."""

    id: Name
    kind: str
    title: str = ""
    params: dict[str, Any] = {}
    retry: Retry = msgspec.field(default_factory=lambda: _RETRY)  # one for all; a factory, as in `duration`
    timeout: Duration = duration("1m")
    """Seconds one attempt may take, from the first look to the last observation."""
    on_failure: OnFailure = "pause"
    ungraceful: Literal["skip"] | dict[str, object] | None = None
    """In an ungraceful run: `skip` the step, or these parameters laid over `with`."""
    confirm: bool = False
    """Ask the operator before this step."""


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps that run side by side."""

    parallel: Annotated[tuple[StepSpec, ...], msgspec.Meta(min_length=1, max_length=64)]


class Runbook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    name: Name
    title: str
    steps: Annotated[tuple[Any, ...], msgspec.Meta(min_length=1, max_length=MAX_STEPS)]
    """Each a step or `parallel:` with a list of steps; which of the two is told by the key, when it is bound.

    (A type of their own here would have each of them copied.)
    """
    description: str = ""
    owner: str = ""
    objectives: Objectives = msgspec.field(default_factory=Objectives)
    parameters: dict[Name, Parameter] = {}
    steady_state: dict[str, object] | None = None
    """The parameters of `health.verify`: what must hold at the end, and for how long."""
