"""Fixtures and the order of all tests: kernel tests need root, and in CI they may not be skipped for want of it."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.model import geography, networks
from tests.examples import register

register()

TESTS: Final = Path(__file__).parent

# A shell's job in the background ignores the first, nohup the other, and what tests start and end by them would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# `make test` tells its children's make of its own flags and depth; a make that a test starts is the outermost one.
for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(variable, None)


@pytest.fixture(scope="session", autouse=True)
def _history_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests a history of their own, and no configuration: never use those of the user who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BWTOP_DB", str(tmp_path_factory.mktemp("history") / "history.db"))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _networks_of_the_tests() -> Iterator[None]:
    """Restore the networks and places: a test that runs the program here sets those of this machine and of a configuration for good."""
    before, places = networks.current(), geography.current()
    yield
    networks.use(before)
    geography.use(places)


FIRST: Final = ("packaging", "web/test_openapi.py", "kernel", "attacks", "web/page", "clickhouse")
"""Files that last, and folders of such: they run first, so that no worker is left with one of them at the end."""


FILLING: Final = ("kernel/test_ids.py", "kernel/test_remote_names.py")
"""Files whose tests fill the tables or the ring of names of every bwtop that runs: they do not run beside others."""


TOGETHER: Final = (
    *("test_deb.py", "test_debian.py", "test_image.py"),
    *("test_kubernetes.py", "test_rpm.py"),
)
"""Files of packaging with the same package or the same fresh Debian: one worker makes it for all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that gives each file to one worker, and the files in TOGETHER to the same one."""
    scheduling = importlib.import_module("xdist.scheduler").LoadFileScheduling(config, log)
    by_file = scheduling._split_scope
    scheduling._split_scope = lambda node: (
        "debian" if Path(by_file(node)).name in TOGETHER else by_file(node)
    )
    return scheduling


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let pytest keep its byte code of the tests, which is not Python's: each run would make it again."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders that last first, and skip the tests that need root where they may be skipped."""
    items.sort(key=rank)
    for item in items:
        disturbs = str(item.path.relative_to(TESTS)) in FILLING
        is_disturbed = item.get_closest_marker("screen")  # a real terminal has deadlines
        if item.get_closest_marker("kernel") and (disturbs or is_disturbed):
            item.add_marker("alone")
    if os.geteuid() and not os.environ.get("CI"):
        skip_without_root(items)


def rank(item: pytest.Item) -> int:
    """Return when a test's file runs: the lower, the earlier."""
    file = item.path.relative_to(TESTS)
    return next((at for at, name in enumerate(FIRST) if file.is_relative_to(name)), len(FIRST))


def skip_without_root(items: list[pytest.Item]) -> None:
    """Skip kernel tests, with the reason.  Where CI is set they run, and fail."""
    without_root = pytest.mark.skip(reason="loading programs into the kernel needs root")
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(without_root)
