"""A pytest plugin: with DR_REQUIRE_ALL set, a test that would be skipped fails.

A skip says "this machine lacks a part". That is fair on a laptop and a lie on the machine that guards the project:
there a missing PgBouncer would silently take its tests away. An expected failure (xfail) is no skip and stays, and so
does the skip of a test that is marked as an opt-in: what it needs is too large to be asked of every machine.
"""

import os
from collections.abc import Generator

import pytest

REQUIRE_ALL = os.environ.get("DR_REQUIRE_ALL", "") not in {"", "0"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "opt_in(how): needs a part that CI does not install; `how` says how one does")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was not run although DR_REQUIRE_ALL is set: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test that skips itself, by a mark or while it runs."""
    report = yield
    if item.get_closest_marker("opt_in") is None:
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a whole module that skips itself while it is imported."""
    report = yield
    _refuse_skip(report)
    return report
