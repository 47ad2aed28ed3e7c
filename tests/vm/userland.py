"""The programs of guests of another machine than this one: a disk with a small Debian.

No maintainer script runs, as nothing here could run it: packages are unpacked, and what scripts would have made and the
tests need is put there.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.apt import Apt
from tests.vm.cache import kept, make, point

SUITE = "trixie"

ARCHITECTURES = {"arm64": "aarch64"}
"""What the kernel calls machines, by Debian's names."""

PACKAGES = (
    *("base-files", "base-passwd", "bash", "dash", "debianutils", "coreutils", "grep", "sed"),
    *("tar", "gzip", "findutils", "hostname", "libc-bin", "login", "passwd", "util-linux", "mount"),
    *("procps", "kmod", "iproute2", "busybox-static"),
    *("python3", "python3-bpfcc", "python3-urwid", "python3-humanize", "libbpf1"),
    *("python3-pytest", "python3-hypothesis"),
)

MERGED = ("bin", "sbin", "lib", "lib64")
"""Folders of /usr that have a link beside it."""

SIZE = "2G"
"""Of the disk; what is not used of it takes no room."""


@dataclass(frozen=True)
class Userland:
    """A disk, and what must be beside it."""

    folder: Path
    arch: str
    """The machine as the kernel calls it."""

    @property
    def disk(self) -> Path:
        """With ext4."""
        return self.folder / "disk"

    @property
    def busybox(self) -> Path:
        """Without libraries, for the first steps of a boot."""
        return self.folder / "busybox"


def userland(machine: str) -> Userland:
    """Return a machine's disk; the one that is there if it is fresh, or no newer one can be had."""
    folder, _ = kept(f"{SUITE}-{machine}", functools.partial(renew, Apt(SUITE, machine)))
    return Userland(folder, ARCHITECTURES[machine])


def renew(archive: Apt, current: Path) -> None:
    """Make `current` a link to a disk with the newest packages."""
    names = needed(archive)
    target = current.parent / digest(names)
    make(target, functools.partial(fill, archive, names))
    point(current, target)


INSTALL = ("apt-get", "install", "-q", "-y", "--no-install-recommends")


def needed(archive: Apt) -> list[str]:
    """Return the files of the packages with all that they depend on, as apt keeps them once it has them."""
    archive.update()
    archive.run("apt-get", "clean")  # apt would leave out what is there
    lines = archive.run(*INSTALL, "--print-uris", *PACKAGES).splitlines()
    return sorted(line.split()[1] for line in lines if line.startswith("'"))


def digest(names: Sequence[str]) -> str:
    """Return a name for what is made of these packages, by this file."""
    made = "\n".join(names).encode() + Path(__file__).read_bytes()
    return hashlib.sha256(made).hexdigest()[:16]


def fill(archive: Apt, names: Sequence[str], target: Path) -> None:
    """Make the disk in a folder."""
    archive.run(*INSTALL, "--download-only", *PACKAGES)
    root = target / "root"
    unpack([archive.folder / "archives" / name for name in names], root)
    archive.run("apt-get", "clean")
    furnish(root)
    shutil.copy(root / "usr/bin/busybox", target)
    # Whoever runs this, the files are root's there.
    as_root = ["unshare", "--map-root-user"] if os.geteuid() else []
    command = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(root), f"{target}/disk", SIZE]
    subprocess.run([*as_root, *command], check=True, capture_output=True)
    shutil.rmtree(root)


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Unpack packages into a root with merged /usr."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    extract = ["tar", "-x", "-p", "--no-same-owner", "--keep-directory-symlink", f"-C{root}"]
    for package in packages:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as archive:
            subprocess.run(extract, stdin=archive.stdout, check=True, capture_output=True)
        assert archive.returncode == 0, package


def furnish(root: Path) -> None:
    """Put there what maintainer scripts would have made, and mounts of virtme-ng need."""
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "etc/fstab").touch()
    (root / "usr/sbin/poweroff").symlink_to("../bin/busybox")
