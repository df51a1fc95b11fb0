"""The plan: a runbook bound to an environment and parameters.

Immutable; its digest stands in the first entry of the run. A plan is complete: it carries the configuration of the
targets it uses (secrets only as references), so a resume elsewhere needs neither the runbook nor `dr.toml`.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from dr.core.duration import Duration, decode_hook, encode_hook
from dr.core.runbook import Mode, Objectives, OnFailure, ParameterValue, Retry
from dr.core.step import Reversal

FORMAT: Final = 1
STEADY_STATE = "steady-state"
"""The id under which the steady state is observed and logged."""
STEADY_STATE_KIND = "health.verify"
"""The kind of step whose parameters `steady_state` takes."""


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the plan."""

    id: str
    kind: str
    summary: str
    params: Mapping[str, object] = {}
    title: str = ""
    reversal: Reversal = "nothing-to-undo"
    observable: bool = True
    targets: tuple[str, ...] = ()
    retry: Retry = Retry()
    timeout: Duration = Duration(60)
    on_failure: OnFailure = "pause"
    confirm: str = ""
    """The question asked before the step; empty: none is asked."""
    skip: str = ""
    """Why the step is passed over in this run; empty: it is not."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be done, in stages; the steps of one stage run side by side."""

    runbook: str
    title: str
    environment: str
    mode: Mode
    stages: tuple[tuple[PlannedStep, ...], ...]
    format: Literal[1] = FORMAT
    description: str = ""
    owner: str = ""
    objectives: Objectives = Objectives()
    parameters: Mapping[str, ParameterValue] = {}
    steady_state: PlannedStep | None = None
    targets: Mapping[str, Mapping[str, object]] = {}
    """Configuration of each target used, by name."""

    def steps(self) -> tuple[PlannedStep, ...]:
        """All steps in the order of the file."""
        return tuple(step for stage in self.stages for step in stage)

    def point_of_no_return(self) -> PlannedStep | None:
        """The first step that cannot be undone, or None."""
        return next((step for step in self.steps() if step.reversal == "impossible" and not step.skip), None)


_encoder = msgspec.json.Encoder(enc_hook=encode_hook, order="sorted")
_decoder = msgspec.json.Decoder(Plan, dec_hook=decode_hook)


def encode_plan(plan: Plan) -> bytes:
    """The canonical JSON of the plan: keys sorted, no white space."""
    return _encoder.encode(plan)


def decode_plan(raw: bytes) -> Plan:
    """The plan stored as `raw`.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: the bytes are not a plan.
    """
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None


def digest(raw: bytes) -> str:
    """SHA-256 over the canonical JSON of a plan, in hex."""
    import hashlib  # loads OpenSSL, which takes 4 MB; a check needs no digest

    return hashlib.sha256(raw).hexdigest()
