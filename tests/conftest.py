"""What all tests share: kernel tests need root, and in CI they may not be skipped for want of it."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("bwtop", database=None, deadline=None)
settings.load_profile("bwtop")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips kernel tests without root, with the reason.  Where CI is set they run, and fail."""
    if os.geteuid() == 0 or os.environ.get("CI"):
        return
    without_root = pytest.mark.skip(reason="loading programs into the kernel needs root")
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(without_root)
