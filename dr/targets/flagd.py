"""Flags in a JSON file of flagd, the reference format of OpenFeature: one flag on or off, and reads shifted by a flag.

Applications watch the file themselves; nothing is told to them.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

import msgspec

from dr.targets.protocols import (
    DatabaseName,
    FlagState,
    LocalPath,
    Opening,
    Share,
    TargetConfig,
    TargetUnreachable,
)
from dr.targets.transport import json_text
from dr.targets.transport.flags import listed, must_write
from dr.targets.transport.program import HostName
from dr.targets.transport.textfile import AnyFile, file_on

STANDBY: Final = "standby"
PRIMARY: Final = "primary"
# By the flag's name and the caller's key: with growing weights of the first bucket nobody goes back and forth.
BUCKET_BY: Final = {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}


class FlagdFile(TargetConfig, frozen=True, tag="flagd-file"):
    """A flag file of flagd as the store of an application's feature flags."""

    speaks: ClassVar[tuple[str, ...]] = ("FlagStore",)

    path: LocalPath
    """The flag file."""
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where the file is, if that is another machine."""


class FlagdTraffic(TargetConfig, frozen=True, kw_only=True, tag="flagd-traffic"):
    """A flag with the variants `primary` and `standby`, by which an application, or its edge, chooses between two."""

    speaks: ClassVar[tuple[str, ...]] = ("TrafficRouter",)

    path: LocalPath
    """The flag file."""
    flag: str
    """The flag's key."""
    ssh: HostName | None = None
    """A target of type `ssh` with one host: where the file is, if that is another machine."""


class FlagdReads(FlagdTraffic, frozen=True, kw_only=True, tag="flagd-reads"):
    """A flag with the variants `primary` and `standby`, by which the application chooses where it reads."""

    speaks: ClassVar[tuple[str, ...]] = ("ReadRouter",)

    primary: DatabaseName
    """Name of the target that is the primary database."""
    standby: DatabaseName
    """Name of the target that takes the reads."""
    application: str
    """application_name of the sessions that read."""


def open_target(config: FlagdFile | FlagdTraffic, opening: Opening) -> "FlagdFileStore | FlagdRouter":
    """The target, opened. Nothing is read yet."""
    file = file_on(config.ssh, opening, config.path)
    if isinstance(config, FlagdFile):
        return FlagdFileStore(file)
    return FlagdReadRouter(config, file) if isinstance(config, FlagdReads) else FlagdRouter(config, file)


class FlagdFileStore:
    """A FlagStore. A flag is enabled when its `state` is; its variant is its `defaultVariant`."""

    def __init__(self, file: AnyFile) -> None:
        self._file = file

    def ping(self) -> None:
        _flags(self._file.path, self._file.read())

    def close(self) -> None:
        self._file.close()

    def read(self, flag: str) -> FlagState:
        return _find(self._file.path, self._file.read(), flag).as_state()

    def write(self, flag: str, state: FlagState, *, expected: FlagState) -> FlagState:
        self._file.rewrite(lambda text: self._changed(text, flag, state, expected))
        return self.read(flag)

    def _changed(self, text: str, flag: str, state: FlagState, expected: FlagState) -> str:
        stored = _find(self._file.path, text, flag)
        current = stored.as_state()
        if not must_write(flag, current, state, expected=expected):
            return text
        if state.variant != current.variant:
            if state.variant and state.variant not in stored.variants:
                raise LookupError(f"the flag {flag!r} has no variant {state.variant!r}, only {listed(stored.variants)}")
            text = json_text.put(text, ("flags", flag, "defaultVariant"), state.variant or None)
        if state.enabled != current.enabled:
            text = json_text.put(text, ("flags", flag, "state"), "ENABLED" if state.enabled else "DISABLED")
        return text


class FlagdRouter:
    """A TrafficRouter. The flag's `fractional` rule says which part of the users gets which variant."""

    def __init__(self, config: FlagdTraffic, file: AnyFile) -> None:
        self._flag = config.flag
        self._file = file

    def ping(self) -> None:
        self.share()

    def close(self) -> None:
        self._file.close()

    def shares(self) -> tuple[int, ...]:
        return tuple(range(101))

    def share(self) -> Share:
        return self._routing(self._file.read()).share()

    def time_to_live(self) -> float:
        return 0.0

    def shift(self, share: Share) -> None:
        if share.standby not in range(101):
            raise LookupError(f"{share.standby} is not a share of 0 to 100 percent")
        self._file.rewrite(lambda text: self._changed(text, share))

    def _changed(self, text: str, share: Share) -> str:
        routing = self._routing(text)
        if routing.is_exactly(share.standby):
            return text
        rule = {"fractional": [*routing.bucket_by, [STANDBY, share.standby], [PRIMARY, 100 - share.standby]]}
        return json_text.put(text, ("flags", self._flag, "targeting"), rule)

    def _routing(self, text: str) -> "_Routing":
        return _routing(self._flag, _find(self._file.path, text, self._flag))


class FlagdReadRouter(FlagdRouter):
    """A ReadRouter."""

    def __init__(self, config: FlagdReads, file: AnyFile) -> None:
        super().__init__(config, file)
        self.primary = config.primary
        self.standby = config.standby
        self.application = config.application


class _Flag(msgspec.Struct, frozen=True, rename="camel"):
    """What dr reads of a flag; other members are left alone."""

    state: Literal["ENABLED", "DISABLED"]
    variants: dict[str, object]
    default_variant: str | None = None
    targeting: dict[str, object] | None = None

    def as_state(self) -> FlagState:
        return FlagState(
            enabled=self.state == "ENABLED", variant=self.default_variant or "", targeted=bool(self.targeting)
        )


def _find(path: str, text: str, name: str) -> _Flag:
    flags = _flags(path, text)
    if name not in flags:
        raise LookupError(f"{path} has no flag {name!r}, only {listed(flags)}")
    try:
        return msgspec.convert(flags[name], _Flag)
    except msgspec.ValidationError as error:
        raise LookupError(f"{path}: the flag {name!r} is not as flagd defines it: {error}") from None


def _flags(path: str, text: str) -> Mapping[str, object]:
    try:
        document = json_text.parse(text)
    except json_text.NotJson as error:
        raise TargetUnreachable(f"{path}:{error}") from None
    flags = document.get("flags") if isinstance(document, dict) else None
    if not isinstance(flags, dict):
        raise TargetUnreachable(f"{path} is not a flag file of flagd: it has no `flags`")
    return flags


class _Routing(msgspec.Struct, frozen=True):
    """The part of the readers that goes to the standby, and by what they are told apart."""

    standby: int
    total: int
    bucket_by: Sequence[object]

    def share(self) -> Share:
        return Share.of_weights(primary=self.total - self.standby, standby=self.standby)

    def is_exactly(self, percent: int) -> bool:
        return 100 * self.standby == percent * self.total


def _routing(name: str, flag: _Flag) -> _Routing:
    """How the flag routes reads.

    Raises:
        LookupError: it does not, or by a rule that dr would destroy if it wrote its own.
    """
    if flag.state == "DISABLED":
        raise LookupError(f"the flag {name!r} is DISABLED and routes nothing")
    if not {STANDBY, PRIMARY} <= flag.variants.keys():
        raise LookupError(
            f"the flag {name!r} needs the variants {STANDBY!r} and {PRIMARY!r}; it has {listed(flag.variants)}"
        )
    if not flag.targeting:
        return _Routing(int(flag.default_variant == STANDBY), 1, [BUCKET_BY])
    rule = flag.targeting.get("fractional")
    if len(flag.targeting) == 1 and isinstance(rule, list):
        bucket_by = [item for item in rule[:1] if not isinstance(item, list)]
        buckets = [_weight(item) for item in rule[len(bucket_by) :]]
        total = sum(weight for _, weight in buckets)
        if total > 0 and {variant for variant, _ in buckets} <= {STANDBY, PRIMARY}:
            return _Routing(sum(weight for variant, weight in buckets if variant == STANDBY), total, bucket_by)
    raise LookupError(f"the flag {name!r} has targeting that dr did not write and will not replace")


def _weight(bucket: object) -> tuple[object, int]:
    """Variant and weight of a bucket; without a weight it is 1, a negative one counts as 0, as flagd defines them."""
    match bucket:
        case [str(variant)]:
            return variant, 1
        case [str(variant), int(weight)]:
            return variant, max(0, weight)
        case _:
            return None, 0
