"""A folder to run `dr` in."""

from pathlib import Path

import pytest

from tests.cli.shell import FLAGS, GOOD, SHOP, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which `dr run good.yaml --env shop --yes` switches a feature off."""
    write(tmp_path, {"dr.toml": SHOP, "good.yaml": GOOD, "flags.json": FLAGS})
    return tmp_path
