"""What of a fetched kernel boots, and how its packages are chosen.  Nothing is fetched here."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import ClassVar

import pytest

from tests.vm import kernels
from tests.vm.kernels import (
    HEADERS,
    IMAGE,
    KERNELS,
    Apt,
    Kernel,
    NotFetchedError,
    Tree,
    fetch,
    version,
)


def made(root: Path, *names: str) -> Tree:
    """A tree with these files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Tree(root)


def test_an_image_beside_its_modules(tmp_path: Path) -> None:
    tree = made(tmp_path, "boot/vmlinuz-6.1.0-1-amd64", "lib/modules/6.1.0-1-amd64/kernel/x.ko")
    assert tree.release == "6.1.0-1-amd64"
    assert tree.image == tmp_path / "boot/vmlinuz-6.1.0-1-amd64"


def test_an_image_among_its_modules(tmp_path: Path) -> None:
    """Where the package with the boot image in /boot is not needed, and /usr is merged."""
    folder = "usr/lib/modules/7.2.1+deb14-amd64"
    tree = made(tmp_path, f"{folder}/kernel/x.ko.xz", f"{folder}/vmlinuz")
    assert tree.release == "7.2.1+deb14-amd64"
    assert tree.image == tmp_path / folder / "vmlinuz"


def test_headers_alone_are_no_modules(tmp_path: Path) -> None:
    """Their package also makes a folder named for the release."""
    tree = made(tmp_path, "lib/modules/6.1.0-2-amd64/build", "lib/modules/6.1.0-1-amd64/kernel/x")
    assert tree.release == "6.1.0-1-amd64"
    with pytest.raises(NotFetchedError, match="no kernel image"):
        _ = tree.image
    with pytest.raises(NotFetchedError, match="no modules"):
        _ = Tree(tmp_path / "boot").release


class Known(Apt):
    """apt that knows a few packages."""

    depends: ClassVar = {
        "linux-image-amd64": "linux-image-7.2.1-amd64 (= 7.2.1-1)",
        "linux-image-7.2.1-amd64": "linux-binary-7.2.1-amd64 (= 7.2.1-1), linux-base (>= 4.3) | other, kmod",
        "linux-binary-7.2.1-amd64": "linux-modules-7.2.1-amd64 (= 7.2.1-1)",
        "linux-headers-amd64": "linux-headers-6.1.0-1-amd64 (= 6.1-1)",
        "linux-headers-6.1.0-1-amd64": "linux-headers-6.1.0-1-common (= 6.1-1), linux-kbuild-6.1, gcc-12",
    }

    def field(self, package: str, name: str) -> str:
        assert name == "Depends"
        return self.depends.get(package, "")


@pytest.mark.parametrize(
    ("package", "pattern", "expected"),
    [
        (
            "linux-image-amd64",
            IMAGE,
            ["linux-image-7.2.1-amd64", "linux-binary-7.2.1-amd64", "linux-modules-7.2.1-amd64"],
        ),
        (
            "linux-headers-amd64",
            HEADERS,
            ["linux-headers-6.1.0-1-amd64", "linux-headers-6.1.0-1-common", "linux-kbuild-6.1"],
        ),
    ],
)
def test_parts_of_a_kernel(
    tmp_path: Path, package: str, pattern: re.Pattern[str], expected: list[str]
) -> None:
    assert Known("sid", tmp_path).parts(package, pattern) == expected


class Unreachable(Apt):
    """apt without a network."""

    def update(self) -> str:
        raise NotFetchedError("no route to host")


def cached(folder: Path, *, age: float) -> Path:
    """A kernel that was fetched some seconds ago."""
    version = folder / "6.1" / "6.1.1-1"
    version.mkdir(parents=True)
    kernels.point(version.with_name("current"), version)
    then = time.time() - age
    os.utime(version.with_name("current"), (then, then), follow_symlinks=False)
    return version


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and an apt that reaches nothing."""
    monkeypatch.setenv("BWTOP_KERNELS", str(tmp_path))
    monkeypatch.setattr(kernels, "Apt", Unreachable)
    return tmp_path


@pytest.mark.parametrize("age", [0, 100 * kernels.FRESH])
def test_what_is_there_is_used(folder: Path, age: float) -> None:
    """If it is fresh, and if no newer one can be had."""
    version = cached(folder, age=age)
    assert fetch(Kernel("6.1", "bookworm")).root == version


@pytest.mark.parametrize("age", [0, 100 * kernels.FRESH])
def test_version_is_that_of_what_would_be_used(folder: Path, age: float) -> None:
    cached(folder, age=age)
    assert version(Kernel("6.1", "bookworm")) == "6.1.1-1"


def test_version_is_not_known_without_network_and_cache(folder: Path) -> None:
    assert version(Kernel("6.1", "bookworm")) == ""


def test_nothing_there_and_no_network(folder: Path) -> None:
    with pytest.raises(NotFetchedError, match="no route to host"):
        fetch(Kernel("6.1", "bookworm"))


def test_the_first_error_is_the_reason() -> None:
    said = "W: slow\nE: Failed to fetch a  no route\nE: Some index files failed to download.\n"
    error = subprocess.CalledProcessError(100, ["apt-get"], stderr=said)
    assert kernels.reason(error) == "Failed to fetch a  no route"
    assert kernels.reason(subprocess.CalledProcessError(2, ["dpkg-deb"])) == "dpkg-deb failed"


def test_an_older_version_goes(folder: Path) -> None:
    old = cached(folder, age=0)
    new = old.with_name("6.1.2-1")
    new.mkdir()
    kernels.point(old.with_name("current"), new)
    assert old.with_name("current").resolve() == new
    assert not old.exists()


def test_where_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BWTOP_KERNELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert kernels.cache_folder() == Path("/x/bwtop/kernels")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert kernels.cache_folder() == Path("/h/.cache/bwtop/kernels")


def test_names_differ() -> None:
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
