"""The parameters of a runbook: what each is worth in a run, by the command line or by default."""

import math
from collections.abc import Mapping

from dr.core.duration import parse_duration
from dr.core.runbook import Parameter, ParameterValue
from dr.errors import UsageError
from dr.findings import did_you_mean

_SAMPLES: dict[str, ParameterValue] = {
    "string": "sample", "integer": 1, "number": 1.0, "boolean": True, "duration": "1s",
}  # fmt: skip


def values_of(
    declared: Mapping[str, Parameter], given: Mapping[str, str], *, samples: bool
) -> dict[str, ParameterValue]:
    """The value of every declared parameter.

    Args:
        declared: the parameters of the runbook, by name.
        given: what was given on the command line, by name.
        samples: what was not given and has no default takes a sample of its type.

    Raises:
        UsageError: a parameter that was given is unknown or of the wrong type, or one without a default is missing.
    """
    for name in given:
        if name not in declared:
            suggestion = did_you_mean(name, declared)
            raise UsageError(f"the runbook has no parameter {name!r}{suggestion}", stands="nothing was touched")
    values: dict[str, ParameterValue] = {}
    for name, parameter in declared.items():
        if name in given:
            values[name] = _parse(name, parameter, given[name])
        elif parameter.default is not None:
            values[name] = parameter.default
        elif samples:
            values[name] = parameter.choices[0] if parameter.choices else _SAMPLES[parameter.type]
        else:
            about = f" ({parameter.description})" if parameter.description else ""
            raise UsageError(
                f"the parameter {name!r}{about} is missing", stands="nothing was touched", hint=f"add -p {name}=VALUE"
            )
    return values


def _parse(name: str, parameter: Parameter, text: str) -> ParameterValue:
    """The text of a command line as a value of the parameter's type."""
    value: ParameterValue | None = None
    match parameter.type:
        case "string" | "duration":
            value = text if _is_unicode(text) else None
        case "boolean":
            value = {"true": True, "false": False}.get(text.lower())
        case "integer" | "number":
            try:
                value = int(text) if parameter.type == "integer" else float(text)
            except ValueError:
                value = None
    if value is None or misfit(parameter, value):
        choices = f"; choices: {', '.join(map(str, parameter.choices))}" if parameter.choices else ""
        raise UsageError(
            f"the parameter {name!r} is of type {parameter.type}{choices}, and {text!r} is not",
            stands="nothing was touched",
        )
    return value


def misfit(parameter: Parameter, value: ParameterValue) -> str:
    """Why the parameter cannot have this value; empty when it can."""
    if not _is_of_type(parameter, value):
        return f"{value!r} is not a value of type {parameter.type}"
    if parameter.choices and value not in parameter.choices:
        return f"{value!r} is none of the choices {', '.join(map(repr, parameter.choices))}"
    return ""


def _is_of_type(parameter: Parameter, value: ParameterValue) -> bool:
    match parameter.type:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "duration":
            try:
                parse_duration(value)
            except ValueError:
                return False
            return True


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored. Bytes of a command line that are not UTF-8 become half a character each."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
