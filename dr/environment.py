"""`dr.toml`: the environments a runbook can be bound to, and the targets each of them has."""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from dr.audit.allowed_signers import AllowedSigners, LineWrong
from dr.audit.allowed_signers import parse as parse_signers
from dr.audit.journal_spec import JournalSpec, Places, places, problems
from dr.audit.keys import check_identity, check_key
from dr.core.duration import decode_hook
from dr.core.marks import marked_texts
from dr.core.runbook import Name
from dr.core.secret import SecretRef, check_reference
from dr.core.step import placed_target_fields
from dr.errors import UsageError
from dr.findings import Finding, Place, did_you_mean, explain, text_of, wrong
from dr.findings import Path as ValuePath
from dr.targets.catalogue import TARGET_TYPES, types_for
from dr.targets.protocols import LocalPath, TargetConfig

Declared = TypeVar("Declared", bound=msgspec.Struct)


class SigningSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs the checkpoints of a run, and whose signatures are accepted."""

    key: str
    """`agent:SHA256:FINGERPRINT`, `file:PATH` (OpenSSH format) or `kms:KEY-ID`."""
    identity: str
    """Whose key it is, as in `allowed_signers`; the actor of everything that is recorded."""
    allowed_signers: LocalPath
    """OpenSSH's file of that name."""
    passphrase: SecretRef = ""
    """Of the key's file, if it has one."""


class EnvironmentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    targets: dict[Name, dict[str, object]]
    description: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    environments: Annotated[dict[Name, EnvironmentSpec], msgspec.Meta(min_length=1)]
    journal: JournalSpec = JournalSpec()
    signing: SigningSpec | None = None


class Environment(msgspec.Struct, frozen=True):
    """A named set of targets."""

    name: str
    targets: dict[str, TargetConfig]


class Config:
    """A loaded `dr.toml`."""

    def __init__(self, path: Path, text: str, settings: Settings) -> None:
        self.path = path
        self._text = text
        self._settings = settings

    @property
    def journal_directory(self) -> Path:
        return Path(_placed(self._settings.journal.directory, self.folder))

    @property
    def places(self) -> Places | None:
        """Where the journal is kept besides the directory; None: nowhere."""
        return places(self._settings.journal)

    @property
    def folder(self) -> Path:
        """Where relative paths in the file start from."""
        return self.path.parent

    @property
    def signing(self) -> SigningSpec | None:
        """Who signs; None: nobody."""
        return self._settings.signing and absolute_paths(self._settings.signing, self.folder)

    def signers(self) -> AllowedSigners | None:
        """Whose signatures are accepted; None: the file does not say.

        Raises:
            RunbookWrong: the file with their keys cannot be read.
        """
        return None if self.signing is None else read_signers(Path(self.signing.allowed_signers))

    def environment(self, name: str) -> Environment:
        """The environment of that name, its targets validated.

        Raises:
            UsageError: there is none.
            RunbookWrong: one of its targets is declared wrongly.
        """
        spec = self._settings.environments.get(name)
        if spec is None:
            suggestion = did_you_mean(name, self._settings.environments)
            raise UsageError(f"{self.path} has no environment {name!r}{suggestion}", stands="nothing was touched")
        at: ValuePath = ("environments", name, "targets")
        targets: dict[str, TargetConfig] = {}
        findings: list[Finding] = []
        for target, raw in spec.targets.items():
            wrong_here = _declared_wrongly(raw, (*at, target))
            findings += wrong_here
            if not wrong_here:
                config = msgspec.convert(raw, TARGET_TYPES[str(raw["type"])], dec_hook=decode_hook)
                targets[target] = absolute_paths(config, self.path.parent.absolute())
        findings += _referring_wrongly(targets, spec.targets.keys(), at)
        if findings:
            placed = [(place(self._text, finding.path), finding.what) for finding in findings]
            placed.sort(key=lambda found: (found[0].line, found[0].column))
            raise wrong(str(self.path), placed)
        return Environment(name, targets)


def _declared_wrongly(raw: Mapping[str, object], path: ValuePath) -> list[Finding]:
    """What keeps the declaration at `path` from being a target."""
    if "type" not in raw:
        return [Finding((*path, "type"), f"the field 'type' is missing{did_you_mean('', TARGET_TYPES)}")]
    kind = TARGET_TYPES.get(str(raw["type"]))
    if kind is None:
        what = f"{raw['type']!r} is not a type of target{did_you_mean(raw['type'], TARGET_TYPES)}"
        return [Finding((*path, "type"), what)]
    return explain(raw, kind, path)


def _referring_wrongly(
    targets: Mapping[str, TargetConfig], declared: Collection[str], at: ValuePath
) -> Iterator[Finding]:
    """What targets name that is no target of the environment, or not one of the type they need.

    Of one that is `declared`, but wrongly, the type is not known; that it is wrong is told already.
    """
    for target, config in targets.items():
        for path, other, role in placed_target_fields(config, (*at, target)):
            if other in declared and (other not in targets or role.protocol in targets[other].speaks):
                continue
            fit = types_for(role.protocol)
            what = f"the target {target!r} names {other!r}, which is no target of type {fit} of this environment"
            what += did_you_mean(other, (known for known in targets if role.protocol in targets[known].speaks))
            yield Finding(path, what)


NAME_IT = "name another with --config FILE; a journal alone is read with --journal DIRECTORY"


def load_config(path: Path) -> Config:
    """Read `dr.toml`.

    Raises:
        RunbookWrong: it cannot be read or is wrong.
    """
    text = text_of(path, NAME_IT)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise wrong(str(path), [_toml_finding(str(error), text)]) from None
    findings = [(place(text, finding.path), finding.what) for finding in explain(raw, Settings)]
    if findings:
        raise wrong(str(path), findings)
    settings = msgspec.convert(raw, Settings, dec_hook=decode_hook)
    findings = [(place(text, ("journal", *field)), what) for field, what in problems(settings.journal)]
    if settings.signing is not None:
        findings += [(place(text, ("signing", name)), what) for name, what in _signing_findings(settings.signing)]
    if findings:
        raise wrong(str(path), findings)
    return Config(path, text, settings)


def read_signers(path: Path) -> AllowedSigners:
    """Read an `allowed_signers` file.

    Raises:
        RunbookWrong: it cannot be read; the line is named.
    """
    try:
        return parse_signers(text_of(path))
    except LineWrong as error:
        raise wrong(str(path), [(Place(error.line, 1), error.why)]) from None


def _signing_findings(spec: SigningSpec) -> Iterator[tuple[str, str]]:
    checks = (("key", check_key), ("identity", check_identity), ("passphrase", _check_passphrase))
    for name, check in checks:
        try:
            check(getattr(spec, name))
        except ValueError as error:
            yield name, str(error)


def _check_passphrase(text: str) -> None:
    if text:
        check_reference("passphrase", text)


def place(text: str, path: ValuePath) -> Place:
    """Where the value at `path` is written, as far as lines tell: its table, then its key. tomllib has no positions."""
    best, depth = Place(1, 1), 0
    table: list[str | int] = []
    lists: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[+)\s*([^\]]+?)\s*\]+", line)
        if header:
            name = re.sub(r"[\s\"']", "", header[2])
            table = [*name.split("."), *([lists[name]] if len(header[1]) > 1 else [])]
            lists[name] += 1
        key = re.match(r"\s*([A-Za-z0-9_-]+)\s*=", line)
        names = [*table, key[1]] if key and table else table
        here = len(_common(names, path))
        if here == min(len(names), len(path)) and here > depth:
            depth, best = here, Place(number, len(line) - len(line.lstrip()) + 1)
    return best


def absolute_paths(config: Declared, folder: Path) -> Declared:
    """The same configuration with the paths of local files absolute: a plan is resumed from anywhere.

    Those of secrets, too. `~` is the user's home; other paths begin in the folder.
    """
    changes: dict[str, object] = {name: _placed(path, folder) for name, path in marked_texts(config, "path")}
    for name, _ in marked_texts(config, "secret"):
        found = getattr(config, name)
        several = isinstance(found, Mapping)
        changes[name] = {key: _secret(ref, folder) for key, ref in found.items()} if several else _secret(found, folder)
    return msgspec.structs.replace(config, **changes) if changes else config


def _placed(path: str, folder: Path) -> str:
    return str(folder / os.path.expanduser(path))  # noqa: PTH111 - Path's own raises where there is no such user


def _secret(reference: str, folder: Path) -> str:
    scheme, _, path = reference.partition(":")
    return f"file:{_placed(path, folder)}" if scheme == "file" else reference


def _common(names: Sequence[str | int], path: ValuePath) -> list[str | int]:
    return [name for name, part in zip(names, path, strict=False) if name == part]


def _toml_finding(message: str, text: str) -> tuple[Place | None, str]:
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    if found:
        return Place(int(found[1]), int(found[2])), message[: found.start()].strip()
    lines = text.split("\n")
    return Place(len(lines), len(lines[-1]) + 1), message.replace("(at end of document)", "").strip()
