"""The [databases] section of PgBouncer's ini."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

DEFAULT_PORT: Final = "5432"

Entry = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]+$")]


def point(text: str, wanted: Mapping[str, str]) -> str:
    """The ini with each entry of [databases] pointing to its HOST:PORT; every other byte as it was.

    Raises:
        LookupError: an entry is not there.
    """
    lines, section, found = text.splitlines(keepends=True), "", set()
    for number, line in enumerate(lines):
        if head := _SECTION.match(line):
            section = head.group(1).strip()
        entry = _ENTRY.match(line)
        if section == "databases" and entry and entry.group(1) in wanted:
            name = entry.group(1)
            found.add(name)
            host, port = wanted[name].rsplit(":", 1)
            settings = _set(_set(line[entry.end() :], "host", host), "port", port)
            lines[number] = line[: entry.end()] + settings
    if missing := sorted(wanted.keys() - found):
        raise LookupError(f"[databases] of the ini has no entry {', '.join(missing)}")
    return "".join(lines)


def leading_to(text: str, at: str) -> frozenset[str]:
    """The entries of [databases], `*` among them, that lead to a HOST:PORT.

    Raises:
        LookupError: it includes other files, so there may be more.
    """
    section, found = "", set()
    for line in text.splitlines():
        if head := _SECTION.match(line):
            section = head.group(1).strip()
        if line.lstrip().startswith("%include"):
            raise LookupError("the ini includes other files, which dr does not read")
        entry = _ANY_ENTRY.match(line)
        if section == "databases" and entry:
            settings = {key: value.strip("'") for key, value in _SETTING.findall(line[entry.end() :])}
            hosts = settings.get("host", "").split(",")
            if at in {f"{host.strip()}:{settings.get('port', DEFAULT_PORT)}" for host in hosts}:
                found.add(entry.group(1).strip('"'))
    return frozenset(found)


def _set(settings: str, name: str, value: str) -> str:
    """A connection string with one setting changed, or put in front if it was not there."""
    for setting in _SETTING.finditer(settings):
        if setting.group(1) == name:
            return settings[: setting.start(2)] + value + settings[setting.end(2) :]
    return f"{name}={value} {settings}"


_SECTION: Final = re.compile(r"\s*\[([^\]]*)\]")
_ENTRY: Final = re.compile(r"\s*([A-Za-z0-9_]+)\s*=\s*")
_ANY_ENTRY: Final = re.compile(r'\s*("[^"]*"|[^\s=;#"]+)\s*=\s*')
_SETTING: Final = re.compile(r"(\w+)\s*=\s*('(?:[^']|'')*'|[^\s']*)")
