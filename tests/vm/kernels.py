"""The kernels that are tested, and how they come from Debian's archive into a folder of their own."""

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm.sources import for_suite, machine_sources

FRESH = 7 * 86400
"""Seconds for which a fetched kernel is used without asking the archive for a newer one."""

STUCK = 1200
"""Seconds after which apt is ended: more than it needs on a slow line."""

IMAGE = re.compile(r"linux-(image|binary|modules)-\d")
"""Packages that are parts of a kernel: all in one, or since 2026 in sid, one for the modules and the image."""

HEADERS = re.compile(r"linux-(headers|kbuild)-\d")


class NotFetchedError(Exception):
    """A kernel cannot be had here, for the reason given."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that Debian has."""

    name: str
    """Of a line of versions, by which the command line and the table call it."""
    suite: str
    headers: bool = False
    """Whether its headers are needed too."""


KERNELS = (
    Kernel("5.10", "bullseye"),
    Kernel("6.1", "bookworm", headers=True),
    Kernel("6.12", "trixie"),
    Kernel("newest", "sid"),
)


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


def cache_folder() -> Path:
    """Where kernels are kept."""
    if folder := os.environ.get("BWTOP_KERNELS"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bwtop" / "kernels"


def fetch(kernel: Kernel, *, fresh: float = FRESH) -> Tree:
    """The newest of a kernel's versions; the one that is there if it is fresh, or no newer one can be had."""
    folder = cache_folder() / kernel.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        current = folder / "current"
        if is_fresh(current, fresh):
            return Tree(current.resolve())
        try:
            return apt(kernel).unpack(kernel, current)
        except (subprocess.SubprocessError, OSError, NotFetchedError) as error:
            if current.exists():
                return Tree(current.resolve(), old=reason(error))
            raise NotFetchedError(reason(error)) from error


def version(kernel: Kernel, *, fresh: float = FRESH) -> str:
    """Return the version that `fetch` would use, without fetching it; empty if that cannot be known here."""
    folder = cache_folder() / kernel.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        current = folder / "current"
        if not is_fresh(current, fresh):
            with contextlib.suppress(subprocess.SubprocessError, OSError, NotFetchedError):
                return apt(kernel).newest(kernel).version
        return current.resolve().name if current.exists() else ""


def is_fresh(current: Path, fresh: float) -> bool:
    """Return whether a fetched kernel is used without asking the archive."""
    return current.exists() and time.time() - current.lstat().st_mtime < fresh


def apt(kernel: Kernel) -> "Apt":
    """Return apt for a kernel's suite."""
    return Apt(kernel.suite, cache_folder() / "apt" / kernel.suite)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second run from fetching the same."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def reason(error: Exception) -> str:
    """Why a kernel could not be had, in a line: apt's first error, of which the later ones follow."""
    if isinstance(error, subprocess.CalledProcessError):
        errors = re.findall(r"^E: (.*)$", str(error.stderr or ""), re.MULTILINE)
        return str(errors[0]) if errors else f"{error.cmd[0]} failed"
    return str(error)


@dataclass(frozen=True)
class Packages:
    """The packages of a kernel's newest version."""

    names: tuple[str, ...]
    version: str
    """As a name of a folder, which has no slash."""


class Apt:
    """apt with lists and packages of its own, which knows of no installed package."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.suite = suite
        self.folder = folder

    def unpack(self, kernel: Kernel, current: Path) -> Tree:
        """Makes `current` a link to the newest version, unpacked."""
        packages = self.newest(kernel)
        target = current.parent / packages.version
        if not (target / "complete").exists():
            self.download(packages.names, target)
        point(current, target)
        return Tree(target)

    def newest(self, kernel: Kernel) -> Packages:
        """Ask the archive for a kernel's newest version."""
        failure = self.update()
        names = self.parts("linux-image-amd64", IMAGE)
        if not names:
            raise NotFetchedError(failure or f"{self.suite} has no linux-image-amd64")
        if kernel.headers:
            names += self.parts("linux-headers-amd64", HEADERS)
        return Packages(tuple(names), self.field(names[0], "Version").replace("/", "_"))

    def update(self) -> str:
        """Reads the lists of the suite anew.  Returns why not all of them, which may still be enough."""
        self._configure()
        try:
            self._run("apt-get", "update", "-q")
        except subprocess.CalledProcessError as error:
            return reason(error)
        return ""

    def _configure(self) -> None:
        for name in ("lists/partial", "archives/partial", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        sources = for_suite(machine_sources(), codename, self.suite)
        if not sources:
            raise NotFetchedError("this machine's apt has no source of Debian's packages")
        (self.folder / "debian.sources").write_text(sources)
        (self.folder / "state/status").touch()
        (self.folder / "apt.conf").write_text(configuration(self.folder))

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        program, *arguments = command
        return subprocess.run(
            [program, "-c", str(self.folder / "apt.conf"), *arguments],
            cwd=cwd,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=STUCK,
        ).stdout

    def field(self, package: str, name: str) -> str:
        """What the newest version of a package says; empty if it does not say so, or there is no such package."""
        try:
            shown = self._run("apt-cache", "show", "--no-all-versions", package)
        except subprocess.CalledProcessError:
            return ""
        match = re.search(rf"^{name}: (.*)$", shown, re.MULTILINE)
        return match[1] if match else ""

    def parts(self, package: str, wanted: re.Pattern[str]) -> list[str]:
        """The packages of a pattern that one needs, directly or through another of them."""
        found: list[str] = []
        for name in re.findall(r"(?:^|, )([^\s,|]+)", self.field(package, "Depends")):
            if wanted.match(name) and name not in found:
                found += [name, *self.parts(name, wanted)]
        return list(dict.fromkeys(found))

    def download(self, packages: Sequence[str], target: Path) -> None:
        """Unpacks packages into a folder, which is complete or not there."""
        partial = target.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self._run("apt-get", "download", "-q", *packages, cwd=partial)
        for archive in sorted(partial.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", archive, partial], check=True, capture_output=True)
            archive.unlink()
        (partial / "complete").touch()
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)


def configuration(folder: Path) -> str:
    """apt.conf(5) for a state of its own.  The machine's settings for the network stay, its hooks do not."""
    return f"""
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Etc::sourcelist "{folder}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::CNF;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def point(current: Path, target: Path) -> None:
    """Makes a link, new even if it was there, and removes what it no longer leads to."""
    link = current.with_name("new")
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    link.rename(current)
    for old in current.parent.iterdir():
        if old.is_dir() and not old.is_symlink() and old != target:
            shutil.rmtree(old)
