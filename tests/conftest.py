"""What all tests share: kernel tests need root, and in CI they may not be skipped for want of it."""

import os

import pytest
from hypothesis import settings

settings.register_profile("bwtop", database=None, deadline=None)
settings.load_profile("bwtop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips kernel tests without root, with the reason.  Where CI is set they run, and fail."""
    if os.geteuid() == 0 or os.environ.get("CI"):
        return
    without_root = pytest.mark.skip(reason="loading programs into the kernel needs root")
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(without_root)
