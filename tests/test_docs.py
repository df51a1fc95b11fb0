"""What the README and the pages in docs/ say is there, is there: each link, each target and each step that is shown."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from dr.core.duration import decode_hook
from dr.steps import CATALOGUE
from dr.targets.catalogue import TARGET_TYPES
from tests.cli.shell import ROOT
from tests.readme import PAGES

LINK = re.compile(r"\]\(([^)\s]+)\)")
OTHERS = tuple(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "localstack/README.md"))


def blocks(language: str) -> Iterator[str]:
    for page in PAGES:
        yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As a forge makes them of headings: lower case, without what is no letter, with hyphens for spaces."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_target_that_is_shown_can_be_written_so() -> None:
    """Alternatives of one name stand in one block, so each table is read by itself."""
    shown = set()
    for block in blocks("toml"):
        for table in re.split(r"\n(?=\[)", block):
            for targets in tomllib.loads(table).get("environments", {}).values():
                for config in targets["targets"].values():
                    if "type" in config:  # else it is a part of a target
                        msgspec.convert(config, TARGET_TYPES[config["type"]], dec_hook=decode_hook)
                        shown.add(config["type"])
    assert shown >= {"postgresql-server", "pgbouncer-pool", "fence-roles", "fence-proxies", "haproxy-reads", "patroni"}


def test_each_step_that_is_shown_can_be_written_so() -> None:
    shown = set()
    for block in blocks("yaml"):
        document = yaml.safe_load(block)
        for step in document["steps"] if "steps" in document else document if isinstance(document, list) else []:
            filled = yaml.safe_load(yaml.safe_dump(step["with"]).replace("${feature}", "recommendations"))
            msgspec.convert(filled, CATALOGUE[step["kind"]], dec_hook=decode_hook)
            shown.add(step["kind"])
    assert shown >= {"ssh.command", "playbook.run", "reads.shift"}
