"""What all tests share: kernel tests need root, and in CI they may not be skipped for want of it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.examples import register

register()

TESTS: Final = Path(__file__).parent

# A shell's job in the background ignores the first, nohup the other, and what tests start and end by them would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _history_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests start records here, and never into anybody's own history; nor does it read anybody's configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BWTOP_DB", str(tmp_path_factory.mktemp("history") / "history.db"))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        yield


ALONE: Final = ("bench", "packaging", "web/page")
"""Folders whose tests, like those with the marker `kernel`, take the whole machine: bwtop sees all of its traffic."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that cannot run beside others, and skip those that need root where they may be skipped."""
    for item in items:
        if is_alone(item):
            item.add_marker("alone")
    if os.geteuid() and not os.environ.get("CI"):
        skip_without_root(items)


def is_alone(item: pytest.Item) -> bool:
    """Return whether a test must not run beside others."""
    folder = item.path.parent.relative_to(TESTS)
    return item.get_closest_marker("kernel") is not None or any(map(folder.is_relative_to, ALONE))


def skip_without_root(items: list[pytest.Item]) -> None:
    """Skip kernel tests, with the reason.  Where CI is set they run, and fail."""
    without_root = pytest.mark.skip(reason="loading programs into the kernel needs root")
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(without_root)
