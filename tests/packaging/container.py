"""The container image, built and run by podman as the guide says."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.debian import Root
from tests.packaging.making import ROOT, run

GUIDE = (ROOT / "man" / "guide" / "install.md").read_text()
CONTAINERFILE = ROOT / "share" / "oci" / "Containerfile"

LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""podman's own are higher than what the machine may allow."""


@dataclass(frozen=True)
class Podman:
    """A podman with images and containers in a folder of the test."""

    folder: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command that runs podman."""
        places = (f"--root={self.folder}/storage", f"--runroot={self.folder}/run")
        return ["podman", *places, "--runtime=runc", *map(str, arguments)]

    def run(self, *arguments: str | Path) -> str:
        """Run podman, which must succeed; return its standard output."""
        return run(*self.command(*arguments))

    def bwtop(self, *flags: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs bwtop in a container that is deleted afterwards."""
        volume = "--volume=bwtop:/var/lib/bwtop"
        return self.command("run", "--rm", *LIMITS, volume, *options, "bwtop", *flags)


def told(name: str) -> tuple[str, ...]:
    """Return the options of `podman run` that the guide has in a variable."""
    (found,) = re.findall(rf"^    {name}='(.*)'$", GUIDE, re.MULTILINE)
    return tuple(str(found).split())


@contextmanager
def built(folder: Path, fresh: Root, deb: Path) -> Iterator[Podman]:
    """Build the image, from a fresh Debian in the place of the registry's."""
    podman = Podman(folder)
    (base,) = re.findall(r"^FROM (.*)$", CONTAINERFILE.read_text(), re.MULTILINE)
    context = folder / "dist"
    context.mkdir(parents=True)
    shutil.copy(deb, context)
    run("tar", "-C", fresh.path, "-cf", folder / "base.tar", ".")
    try:
        podman.run("import", folder / "base.tar", base)
        network = ("--network=host", "--pull=never")
        podman.run("build", *network, *LIMITS, "-t", "bwtop", "-f", CONTAINERFILE, context)
        yield podman
    finally:
        podman.run("rm", "--all", "--force")
        podman.run("rmi", "--all", "--force")
        shutil.rmtree(folder)
