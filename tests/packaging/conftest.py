"""Fixtures that are made once for all tests: the package, and a fresh Debian."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.container import Podman, built
from tests.packaging.debian import Root, made
from tests.packaging.making import built_deb, copy_of_checkout


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package of this checkout."""
    return built_deb(copy_of_checkout(tmp_path_factory.mktemp("deb") / "checkout"))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """Yield a Debian as debootstrap makes it; tests change copies of it."""
    root = made(tmp_path_factory.mktemp("fresh") / "root")
    yield root
    shutil.rmtree(root.path)


@pytest.fixture(scope="session")
def podman(fresh: Root, deb: Path) -> Iterator[Podman]:
    """Yield a podman with the image.  podman takes no path of more than 50 characters."""
    with (
        tempfile.TemporaryDirectory(prefix="bwtop-") as folder,
        built(Path(folder, "podman"), fresh, deb) as podman,
    ):
        yield podman
