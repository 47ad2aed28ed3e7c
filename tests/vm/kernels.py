"""The kernels that are tested, and how they come from Debian's archive into a folder of their own."""

import contextlib
import functools
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.apt import Apt
from tests.vm.cache import FRESH, NotFetchedError, current_of, is_fresh, kept, make, point

IMAGE = re.compile(r"linux-(image|binary|modules)-\d")
"""Packages that are parts of a kernel: all in one, or since 2026 in sid, one for the modules and the image."""

HEADERS = re.compile(r"linux-(headers|kbuild)-\d")


MACHINES = ("amd64", "arm64")
"""The first is the one that runs the tests."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that Debian has."""

    line: str
    """The versions of which it is the newest, as the table calls them."""
    suite: str
    machine: str = "amd64"
    """As Debian calls it."""
    headers: bool = False
    """Whether its headers are needed too."""

    @property
    def name(self) -> str:
        """By which the command line and the jobs call it."""
        return self.line if self.machine == MACHINES[0] else f"{self.line}-{self.machine}"


KERNELS = (
    Kernel("5.10", "bullseye"),
    Kernel("6.1", "bookworm", headers=True),
    Kernel("6.12", "trixie"),
    Kernel("newest", "sid"),
    Kernel("6.1", "bookworm", "arm64"),
    Kernel("6.12", "trixie", "arm64"),
)

BY_NAME = {kernel.name: kernel for kernel in KERNELS}


@dataclass(frozen=True)
class Tree:
    """A kernel's packages, unpacked."""

    root: Path
    old: str = ""
    """Why it could not be found out whether there is a newer version, if that is so."""

    @property
    def version(self) -> str:
        """The version of its packages."""
        return self.root.name

    @property
    def modules(self) -> Path:
        """The folder of its modules, named for its release.  A suite with merged /usr ships them there."""
        for folder in ("lib/modules", "usr/lib/modules"):
            for path in sorted((self.root / folder).glob("*/kernel")):
                return path.parent
        raise NotFetchedError(f"no modules in {self.root}")

    @property
    def release(self) -> str:
        """As `uname -r` prints it."""
        return self.modules.name

    @property
    def image(self) -> Path:
        """What boots."""
        for path in (self.root / "boot" / f"vmlinuz-{self.release}", self.modules / "vmlinuz"):
            if path.exists():
                return path
        raise NotFetchedError(f"no kernel image in {self.root}")


def fetch(kernel: Kernel) -> Tree:
    """Return the newest of a kernel's versions; the one that is there if it is fresh, or no newer one can be had."""
    return Tree(*kept(kernel.name, functools.partial(unpack, kernel)))


def version(kernel: Kernel) -> str:
    """Return the version that `fetch` would use, without fetching it; empty if that cannot be known here."""
    with current_of(kernel.name) as current:
        if not is_fresh(current, FRESH):
            with contextlib.suppress(subprocess.SubprocessError, OSError, NotFetchedError):
                return newest(apt(kernel), kernel).version
        return current.resolve().name if current.exists() else ""


def apt(kernel: Kernel) -> Apt:
    """Return apt for a kernel's suite and machine."""
    return Apt(kernel.suite, kernel.machine)


@dataclass(frozen=True)
class Packages:
    """The packages of a kernel's newest version."""

    names: tuple[str, ...]
    version: str
    """As a name of a folder, which has no slash."""


def unpack(kernel: Kernel, current: Path) -> None:
    """Make `current` a link to the newest version, unpacked."""
    archive = apt(kernel)
    packages = newest(archive, kernel)
    target = current.parent / packages.version
    make(target, functools.partial(download, archive, packages.names))
    point(current, target)


def newest(archive: Apt, kernel: Kernel) -> Packages:
    """Ask the archive for a kernel's newest version."""
    failure = archive.update()
    image = f"linux-image-{kernel.machine}"
    names = parts(archive, image, IMAGE)
    if not names:
        raise NotFetchedError(failure or f"{kernel.suite} has no {image}")
    if kernel.headers:
        names += parts(archive, f"linux-headers-{kernel.machine}", HEADERS)
    return Packages(tuple(names), archive.field(names[0], "Version").replace("/", "_"))


def parts(archive: Apt, package: str, wanted: re.Pattern[str]) -> list[str]:
    """Return the packages of a pattern that one needs, directly or through another of them."""
    found: list[str] = []
    for name in re.findall(r"(?:^|, )([^\s,|]+)", archive.field(package, "Depends")):
        if wanted.match(name) and name not in found:
            found += [name, *parts(archive, name, wanted)]
    return list(dict.fromkeys(found))


def download(archive: Apt, packages: Sequence[str], target: Path) -> None:
    """Unpack packages into a folder."""
    archive.run("apt-get", "download", "-q", *packages, cwd=target)
    for package in sorted(target.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, target], check=True, capture_output=True)
        package.unlink()
