"""Configuration files for tests."""

from pathlib import Path

import pytest

from tests.options.examples import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes text to a file and returns its path."""

    def file(text: str, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return file
