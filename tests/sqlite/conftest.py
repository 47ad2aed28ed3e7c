"""Fixtures for tests of the store: recorders, and a directory for other users."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.history.others import public_directory
from tests.history.recording import Recorders


@pytest.fixture
def recorders() -> Iterator[Recorders]:
    """Return a maker of recorders; they are closed at the end."""
    made = Recorders()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a database."""
    return tmp_path / "history.db"


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a directory that other users can read."""
    with public_directory() as found:
        yield found
