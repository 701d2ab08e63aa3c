"""What all tests share: hypothesis settings, a headless matplotlib, and which tests an environment leaves out.

`pytest` runs all but those marked `slow`; `pytest -m slow` runs these. With `NUMBA_DISABLE_JIT=1` the kernels are
plain Python, and tests marked `compiled_only` are left out: they look at compilation itself, or take too long.

Tests that need torch take the fixture `torch`, or say `pytest.importorskip("torch")`; any other reason to skip for
want of it names torch. With `NEUROPRUNE_REQUIRE_TORCH=1` such a skip is a failure.
"""

import os
import signal
from collections.abc import Generator
from types import ModuleType
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

os.environ["MPLBACKEND"] = "Agg"  # also for the processes that tests start

settings.register_profile(
    "neuroprune",
    max_examples=200,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),  # there, the same examples in every run
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # measures seconds, so it depends on what else the machine does
)
settings.load_profile("neuroprune")


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """The module torch; the test skips where it is not installed."""
    return pytest.importorskip("torch", reason="torch is not installed: pip install torch")


def pytest_configure() -> None:
    """Let Ctrl-C, which some tests send, reach this process: what a shell starts in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _is_on("NUMBA_DISABLE_JIT"):
        return
    left_out = [item for item in items if item.get_closest_marker("compiled_only")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("compiled_only")]


def _refuse_skip_for_torch(report: Report) -> Report:
    """Turn a skip whose reason names torch into a failure where torch is required."""
    if _is_on("NEUROPRUNE_REQUIRE_TORCH") and report.skipped and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        if "torch" in reason:
            report.outcome = "failed"
            report.longrepr = f"{path}:{line}: torch is required by NEUROPRUNE_REQUIRE_TORCH. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip_for_torch((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip_for_torch((yield))
