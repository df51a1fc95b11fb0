"""Feature flags as parameters of AWS Systems Manager. boto3 is loaded when the store is opened.

A flag is one parameter: a word (`on`, `off`, `true`, `false`, `enabled`, `disabled`), or a JSON object with `enabled`
and perhaps `variant`. What is written keeps the spelling, and the other members of the object, that it found.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from dr.targets.protocols import FlagState, Opening
from dr.targets.transport import json_text
from dr.targets.transport.aws_access import AwsAccess
from dr.targets.transport.flags import must_write

if TYPE_CHECKING:
    from dr.targets.transport.aws_parameters import SsmParameters

WORDS: Final = (("on", "off"), ("true", "false"), ("enabled", "disabled"))


class SsmFlags(AwsAccess, frozen=True, kw_only=True, tag="ssm-flags"):
    """Parameters of AWS Systems Manager as the store of an application's feature flags."""

    speaks: ClassVar[tuple[str, ...]] = ("FlagStore",)

    prefix: Annotated[str, msgspec.Meta(pattern=r"^/([A-Za-z0-9_.-]+/)*$")]
    """The flag's parameter is named by this and the flag: `/shop/flags/`."""


def open_target(config: SsmFlags, opening: Opening) -> "SsmFlagStore":
    """The store, opened. Nothing is asked yet."""
    from dr.targets.transport.aws_api import Api
    from dr.targets.transport.aws_parameters import SsmParameters

    return SsmFlagStore(config.prefix, SsmParameters(Api(config, opening)))


class SsmFlagStore:
    """A FlagStore. AWS has no compare-and-set: who writes between the look and the write is overwritten."""

    def __init__(self, prefix: str, parameters: "SsmParameters") -> None:
        self._prefix = prefix
        self._parameters = parameters

    def ping(self) -> None:
        """Systems Manager answers these credentials."""
        self._parameters.read(f"{self._prefix}none")

    def close(self) -> None:
        pass

    def read(self, flag: str) -> FlagState:
        return _state(self._name(flag), self._text(flag))

    def write(self, flag: str, state: FlagState, *, expected: FlagState) -> FlagState:
        text, name = self._text(flag), self._name(flag)
        current = _state(name, text)
        if not must_write(flag, current, state, expected=expected):
            return current
        self._parameters.write(name, _changed(name, text, state), secret=False)
        return self.read(flag)

    def _text(self, flag: str) -> str:
        stored = self._parameters.read(self._name(flag))
        if stored is None:
            raise LookupError(f"there is no parameter {self._name(flag)}")
        if stored.value is None:
            raise LookupError(f"the parameter {self._name(flag)} is a SecureString and no flag")
        return stored.value

    def _name(self, flag: str) -> str:
        return self._prefix + flag


class _Flag(msgspec.Struct, frozen=True):
    """What dr reads of a flag that is a JSON object; other members are left alone."""

    enabled: bool
    variant: str | None = None


def _state(name: str, text: str) -> FlagState:
    """Raises LookupError: it is written in no way that dr knows."""
    for on, off in WORDS:
        if text.strip().lower() in {on, off}:
            return FlagState(enabled=text.strip().lower() == on, variant="")
    try:
        flag = msgspec.json.decode(text, type=_Flag)
    except msgspec.DecodeError:
        raise LookupError(
            f"the parameter {name} holds no flag: neither a word for it nor JSON with `enabled`"
        ) from None
    return FlagState(enabled=flag.enabled, variant=flag.variant or "")


def _changed(name: str, text: str, state: FlagState) -> str:
    for pair in WORDS:
        if text.strip().lower() in pair:
            if state.variant:
                raise LookupError(f"the flag {name} is a word and has no variant {state.variant!r}")
            return _spelled(pair[not state.enabled], text.strip())
    text = json_text.put(text, ("enabled",), state.enabled)
    if state.variant != _state(name, text).variant:
        text = json_text.put(text, ("variant",), state.variant or None)
    return text


def _spelled(word: str, model: str) -> str:
    """The word in upper or lower case as the model is."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
