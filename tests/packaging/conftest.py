"""The package, which is made once for all tests."""

from pathlib import Path

import pytest

from tests.packaging.making import built_deb, copy_of_checkout


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It."""
    return built_deb(copy_of_checkout(tmp_path_factory.mktemp("deb") / "checkout"))
