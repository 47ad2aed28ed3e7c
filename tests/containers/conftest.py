"""Folders for containers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def root() -> Iterator[Path]:
    """Yield a folder with a short path: podman accepts no long one."""
    with TemporaryDirectory(prefix="bwtop-", dir="/tmp") as folder:
        yield Path(folder)
