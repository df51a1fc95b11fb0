"""From a document to a plan: validate the runbook, put in the parameters, bind it to an environment.

Everything that is wrong is collected and named with file:line:column; a plan is only made of a runbook without errors.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from dr.core.duration import Duration, decode_hook, encode_hook
from dr.core.plan import STEADY_STATE, STEADY_STATE_KIND, Plan, PlannedStep
from dr.core.runbook import Mode, Parameter, ParameterValue, Runbook, Stage, StepSpec
from dr.core.step import Step, placed_target_fields, target_fields
from dr.errors import RunbookWrong
from dr.findings import Finding, Path, did_you_mean, explain, wrong
from dr.load import Document
from dr.parameters import misfit, values_of
from dr.steps import CATALOGUE
from dr.targets.catalogue import types_for

if TYPE_CHECKING:
    from dr.environment import Environment

MARGIN = 10.0
"""Seconds a look may take beyond what it takes by design."""

_REFERENCE = re.compile(r"\$(\$)?\{([^}]*)\}")


def bind(
    document: Document,
    environment: "Environment | None",
    given: Mapping[str, str],
    mode: Mode = "graceful",
    *,
    samples: bool = False,
) -> Plan:
    """The plan of a runbook.

    Args:
        document: the runbook as it was read.
        mode: whether the steps' `ungraceful` part applies.
        environment: None checks the runbook alone, without its targets.
        given: parameters by name, as text from the command line.
        samples: parameters that were not given take a sample of their type, for a check.

    Raises:
        RunbookWrong: with every error of the runbook.
        UsageError: a parameter that was given is unknown, missing or of the wrong type.
    """
    return _Binding(document, environment, mode).plan(given, samples=samples)


class _Binding:
    """The work of `bind`: gathers findings on the way."""

    def __init__(self, document: Document, environment: "Environment | None", mode: Mode) -> None:
        self._document = document
        self._refers = "${" in document.text
        self._environment = environment
        self._mode: Mode = mode
        self._findings: list[Finding] = []
        self._values: dict[str, ParameterValue] = {}
        self._declared: set[str] = set()
        """Parameters that are declared, and wrongly: they are not unknown, but have no value."""
        self._blind: set[Path] = set()
        """Where a parameter without a value is used; what is said about the value there would be noise."""
        self._used: set[str] = set()
        self._ids: set[str] = {STEADY_STATE}

    def plan(self, given: Mapping[str, str], *, samples: bool) -> Plan:
        runbook: Runbook | None = self._convert(self._document.value, Runbook, ())
        if runbook is None:
            self._salvage()
            raise self._wrong()
        self._check_parameters(runbook.parameters)
        if self._findings:
            raise self._wrong()
        self._values = values_of(runbook.parameters, given, samples=samples)
        stages = tuple(self._stage(raw, ("steps", at)) for at, raw in enumerate(runbook.steps))
        steady_state = self._steady_state(runbook.steady_state) if runbook.steady_state is not None else None
        if self._findings:
            raise self._wrong()
        targets = self._environment.targets if self._environment else {}
        return Plan(
            runbook=runbook.name,
            title=runbook.title,
            description=runbook.description,
            owner=runbook.owner,
            objectives=runbook.objectives,
            environment=self._environment.name if self._environment else "",
            mode=self._mode,
            parameters=self._values,
            stages=stages,
            steady_state=steady_state,
            targets={
                name: msgspec.to_builtins(targets[name], enc_hook=encode_hook)
                for name in sorted(self._used)
                if name in targets
            },
        )

    def _wrong(self) -> RunbookWrong:
        document = self._document
        placed = [(document.place(item.path, of_key=item.of_key), item.what) for item in self._findings]
        placed.sort(key=lambda item: (item[0].line, item[0].column))
        return wrong(document.name, placed, hint="dr kinds   (what each kind of step takes)")

    def _salvage(self) -> None:
        """Look for errors in the steps too when the head is wrong already, so that all of them are told at once."""
        raw = self._document.value
        if not isinstance(raw, dict):
            return
        declared = raw.get("parameters")
        for name, item in declared.items() if isinstance(declared, dict) else ():
            self._declared.add(name)
            with contextlib.suppress(msgspec.ValidationError):
                self._values |= values_of({name: msgspec.convert(item, Parameter)}, {}, samples=True)
        steps = raw.get("steps")
        for at, step in enumerate(steps if isinstance(steps, list) else ()):
            self._stage(step, ("steps", at))

    def _convert(self, value: object, kind: Any, path: Path) -> Any:
        """`value` as a `kind`, or None and the findings that say why not."""
        try:
            return msgspec.convert(value, kind, dec_hook=decode_hook)
        except msgspec.ValidationError:
            self._findings += [finding for finding in explain(value, kind, path) if finding.path not in self._blind]
            return None

    def _check_parameters(self, parameters: Mapping[str, Parameter]) -> None:
        for name, parameter in parameters.items():
            written = [("choices", choice) for choice in parameter.choices]
            if parameter.default is not None:
                written.append(("default", parameter.default))
            for field, value in written:
                if why := misfit(parameter, value):
                    self._findings.append(Finding(("parameters", name, field), why))

    def _stage(self, raw: Any, path: Path) -> tuple[PlannedStep, ...]:
        if not isinstance(raw, dict) or "parallel" not in raw:
            return tuple(step for step in (self._step(raw, path),) if step)
        if self._convert(self._fill(raw, path), Stage, path) is None:
            return ()
        steps = raw["parallel"]
        assert isinstance(steps, list)
        bound = (self._step(item, (*path, "parallel", at)) for at, item in enumerate(steps))
        return tuple(step for step in bound if step)

    def _step(self, raw: Any, path: Path) -> PlannedStep | None:
        filled = raw
        if self._refers and isinstance(raw, dict):
            filled = {key: raw[key] if key in ("id", "kind") else self._fill(raw[key], (*path, key)) for key in raw}
        spec: StepSpec | None = self._convert(filled, StepSpec, path)
        if spec is None:
            return None
        if spec.id in self._ids:
            self._findings.append(Finding((*path, "id"), f"the id {spec.id!r} is there twice"))
        self._ids.add(spec.id)
        if spec.kind not in CATALOGUE:
            self._findings.append(
                Finding((*path, "kind"), f"unknown kind {spec.kind!r}{did_you_mean(spec.kind, CATALOGUE)}")
            )
            return None
        kind = CATALOGUE[spec.kind]
        params: dict[str, object] = spec.params
        where: Path = (*path, "with") if "with" in raw else path
        other = spec.ungraceful if isinstance(spec.ungraceful, dict) else {}
        over = other if self._mode == "ungraceful" else {}
        step = self._convert({**params, **over}, kind, where)
        if step is None:
            return None
        if other and not over:
            self._convert({**params, **other}, kind, (*path, "ungraceful"))
        self._check_targets(step, lambda field: (*path, "ungraceful") if field in over else where)
        return self._planned(spec, step, path, explicit="timeout" in raw)

    def _planned(self, spec: StepSpec, step: Step, path: Path, *, explicit: bool) -> PlannedStep:
        timeout = spec.timeout
        if step.takes() > timeout:
            if explicit:
                takes = Duration(step.takes())
                what = f"{timeout} is too short: one look of this step takes up to {takes} by design"
                self._findings.append(Finding((*path, "timeout"), what))
            timeout = Duration(step.takes() + MARGIN)
        summary = step.summary()
        question = summary if step.asks else f"Go on with {spec.id}? {summary}" if spec.confirm else ""
        return PlannedStep(
            id=spec.id,
            kind=spec.kind,
            summary=summary,
            params=msgspec.to_builtins(step, enc_hook=encode_hook),
            title=spec.title,
            reversal=step.reverses(),
            observable=step.observable,
            targets=self._reached(step),
            retry=spec.retry,
            timeout=timeout,
            on_failure=spec.on_failure,
            confirm=question,
            skip="skipped in an ungraceful run" if self._mode == "ungraceful" and spec.ungraceful == "skip" else "",
        )

    def _steady_state(self, raw: dict[str, object]) -> PlannedStep | None:
        step = self._convert(self._fill(raw, ("steady_state",)), CATALOGUE[STEADY_STATE_KIND], ("steady_state",))
        if step is None:
            return None
        self._check_targets(step, lambda _: ("steady_state",))
        spec = StepSpec(id=STEADY_STATE, kind=STEADY_STATE_KIND)
        return self._planned(spec, step, ("steady_state",), explicit=False)

    def _check_targets(self, step: Step, where: Callable[[str | int], Path]) -> None:
        """Each target exists and speaks the Protocol its step needs; what a target itself refers to is taken along.

        `where` says in which mapping of the document a field of the step is written.
        """
        if self._environment is None:
            return
        declared, roles = self._environment.targets, set(step.roles())
        for path, name, role in placed_target_fields(step, ()):
            if (name, role) not in roles:
                continue
            place = (*where(path[0]), *path)
            if name not in declared:
                what = f"the environment {self._environment.name} has no target {name!r}{did_you_mean(name, declared)}"
                self._findings.append(Finding(place, what))
            elif role.protocol not in declared[name].speaks:
                kind = declared[name].__struct_config__.tag
                what = f"the target {name!r} is of type {kind}; this takes one of type {types_for(role.protocol)}"
                self._findings.append(Finding(place, what))
            else:
                self._use(name)

    def _use(self, name: str) -> None:
        """Take the target into the plan, with those that it names and those that they name."""
        declared = self._environment.targets if self._environment else {}
        if name in declared and name not in self._used:
            self._used.add(name)
            for other, _ in target_fields(declared[name]):
                self._use(other)

    def _reached(self, step: Step) -> tuple[str, ...]:
        """The targets a step reaches: those it names, and those that these name (a read router names its databases)."""
        named = step.targets()
        declared = self._environment.targets if self._environment else {}
        return (*named, *(other for name in named if name in declared for other in _referred(declared[name])))

    def _fill(self, value: object, path: Path) -> object:
        """`value` with each `${name}` replaced. A scalar that is nothing else takes the parameter's type."""
        if not self._refers:
            return value
        if isinstance(value, str):
            return self._fill_text(value, path) if "${" in value else value
        if isinstance(value, dict):
            return {key: self._fill(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item, (*path, at)) for at, item in enumerate(value)]
        return value

    def _fill_text(self, text: str, path: Path) -> object:
        whole = _REFERENCE.fullmatch(text)
        if whole and not whole[1]:
            return self._value(whole[2], path)
        return _REFERENCE.sub(
            lambda found: "${" + found[2] + "}" if found[1] else str(self._value(found[2], path)), text
        )

    def _value(self, name: str, path: Path) -> ParameterValue:
        if name in self._values:
            return self._values[name]
        finding = Finding(path, f"unknown parameter ${{{name}}}{did_you_mean(name, self._values)}")
        if name not in self._declared and finding not in self._findings:
            self._findings.append(finding)
        self._blind.add(path)
        return ""


def _referred(config: msgspec.Struct) -> tuple[str, ...]:
    """Other targets that a target cannot do without: a read router its databases. A server that is down has no host."""
    return tuple(name for name, role in target_fields(config) if not role.may_be_down)
