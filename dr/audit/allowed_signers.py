"""Who is who: OpenSSH's `allowed_signers` file (ssh-keygen(1), ALLOWED SIGNERS). Pure.

    alice@example.org ssh-ed25519 AAAA...
    bob@example.org namespaces="dr-checkpoint@*",valid-before="20270101Z" ssh-rsa AAAA...

Read as `ssh-keygen -Y verify` reads it, but for two things. A time without `Z` is UTC: there it is the local time of
whichever machine verifies, and a verdict must not depend on that. And a `cert-authority` line is refused: a journal is
judged years later, when nobody can tell which certificates that authority had withdrawn.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from dr.audit.signature import NAMESPACE, PublicKey
from dr.audit.wire import Malformed

_OPTION = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|$)')
_OPTIONS = re.compile(r'((?:[^\s"]|"(?:[^"\\]|\\.)*")+)\s+(.*)')
_KEY_TYPE = re.compile(r"(?:ssh|ecdsa|sk|webauthn)-[^\s,=\"]+")
_TIMES: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class LineWrong(ValueError):
    """A line of the file cannot be accepted, and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


class AllowedSigner(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a key, whose it is, for what and when."""

    principals: str
    """Patterns with commas between them, as the other lists here."""
    key: PublicKey
    namespaces: str = "*"
    valid_after: float | None = None
    """Seconds since 1970, UTC; as `valid_before`."""
    valid_before: float | None = None


class AllowedSigners(msgspec.Struct, frozen=True):
    """The file."""

    lines: tuple[AllowedSigner, ...]
    text: str
    """As it was."""

    def refusal(self, key: PublicKey, principal: str, at: float) -> str:
        """Why a checkpoint that `key` has signed for `principal` at that time (seconds since 1970) is not accepted.

        Empty when it is.
        """
        of_key = [line for line in self.lines if line.key == key]
        if not of_key:
            return f"the key {key.fingerprint} is not in allowed_signers"
        of_both = [line for line in of_key if matches(principal, line.principals)]
        if not of_both:
            owners = ", ".join(line.principals for line in of_key)
            return f"the key {key.fingerprint} is the one of {owners}, not of {principal}"
        reasons = [_refusal(line, int(at)) for line in of_both]
        return "" if "" in reasons else f"the key {key.fingerprint} {reasons[0]}"


def parse(text: str) -> AllowedSigners:
    """Read the file.

    Raises:
        LineWrong: a line cannot be read, or uses what is not supported. Nothing is passed over in silence.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(_line(line.strip()))
            except (ValueError, Malformed) as error:
                raise LineWrong(number, str(error)) from None
    return AllowedSigners(tuple(found), text)


def matches(text: str, patterns: str) -> bool:
    """Whether `text` fits OpenSSH's pattern list: `*` and `?` stand for anything, a leading `!` refuses what fits."""
    fits = False
    for pattern in patterns.split(","):
        if _fits(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            fits = True
    return fits


def _fits(text: str, pattern: str) -> bool:
    parts = ({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _refusal(line: AllowedSigner, at: int) -> str:
    if not matches(NAMESPACE, line.namespaces):
        return f"is not allowed for checkpoints (its namespaces: {line.namespaces})"
    if line.valid_after is not None and at < line.valid_after:
        return f"was not yet valid then (valid-after {_time(line.valid_after)})"
    if line.valid_before is not None and at > line.valid_before:
        return f"had expired then (valid-before {_time(line.valid_before)})"
    return ""


def _line(line: str) -> AllowedSigner:
    quoted = re.match(r'"([^"]*)"\s+(.*)', line)
    principals, rest = quoted.groups() if quoted else (*line.split(maxsplit=1), "")[:2]
    options = {}
    if not _KEY_TYPE.match(rest):
        found = _OPTIONS.fullmatch(rest)
        if found is None:
            raise ValueError("a line is: principals, options if any, the key's type, the key")
        options, rest = dict(_read_options(found[1])), found[2]
    return AllowedSigner(
        principals=principals,
        key=_key(rest),
        namespaces=options.get("namespaces", "*"),
        valid_after=_seconds(options.get("valid-after")),
        valid_before=_seconds(options.get("valid-before")),
    )


def _read_options(text: str) -> Iterator[tuple[str, str]]:
    seen, at = set(), 0
    while at < len(text):
        found = _OPTION.match(text, at)
        name = found[1].lower() if found else ""
        if name == "cert-authority":
            raise ValueError("cert-authority is not supported: name the key itself that signs")
        if found is None or name not in {"namespaces", "valid-after", "valid-before"} or not found[2]:
            raise ValueError(f"{text[at:]!r} is no option with a value (known: namespaces, valid-after, valid-before)")
        if name in seen:
            raise ValueError(f"{name} is given twice")
        seen.add(name)
        yield name, re.sub(r"\\(.)", r"\1", found[2])
        at = found.end()


def _key(text: str) -> PublicKey:
    kind, encoded, *_ = [*text.split(maxsplit=2), "", ""]
    try:
        key = PublicKey(base64.b64decode(encoded, validate=True))
        if key.kind == kind:
            return key
    except (binascii.Error, Malformed):
        pass
    raise ValueError(f"the key of the type {kind!r} cannot be read")


def _seconds(text: str | None) -> float | None:
    """Seconds since 1970 of a time as the file writes it."""
    if text is None:
        return None
    digits = text.removesuffix("Z")
    try:
        if digits.isascii() and digits.isdigit():
            return datetime.strptime(digits, _TIMES[len(digits)]).replace(tzinfo=UTC).timestamp()
    except (KeyError, ValueError):
        pass
    raise ValueError(f"{text!r} is not a time; write 20270101Z or 20270101093000Z")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
