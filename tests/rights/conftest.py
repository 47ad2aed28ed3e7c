"""Folders for several users."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def top() -> Iterator[Path]:
    """Yield a folder that everyone may pass through; those of pytest are root's alone."""
    with TemporaryDirectory(prefix="bwtop-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
