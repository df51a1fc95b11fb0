"""A pytest plugin (`-p tests.covered`): what of `dr/core` and `dr/audit` their own tests reach.

Only these are traced, since a traced process takes two to three times the processor time, whatever it runs. pytest-cov
was rejected: in a worker of xdist it traces twice, so that a test that asks to be left out is traced all the same.
"""

from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

FOLDERS = (Path(__file__).parent / "core", Path(__file__).parent / "audit")

_measured = coverage.Coverage(data_suffix=True)  # each worker writes a file of its own
_measured.start()  # definitions are reached while tests are collected


def pytest_collection_finish() -> None:
    _measured.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if item.get_closest_marker("untraced") or not any(item.path.is_relative_to(folder) for folder in FOLDERS):
        return (yield)
    _measured.start()
    try:
        return (yield)
    finally:
        _measured.stop()


def pytest_sessionfinish() -> None:
    _measured.stop()
    _measured.save()
