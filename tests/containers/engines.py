"""Folders of container engines: podman's made by it, docker's and the kubelet's in their documented shape."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bwtop.containers import folders
from bwtop.containers.folders import Folder
from tests.kernel.running import HANG
from tests.processes import ran

IMAGE = "example/proxy:1.25"


@dataclass(frozen=True)
class Podman:
    """A real podman; its storage below `root` is at the place of root's own."""

    root: Path

    def run(self, *arguments: str) -> str:
        """Run podman; return the last word that it prints."""
        where = (f"--root={self.root}/var/lib/containers/storage", f"--runroot={self.root}/run")
        drivers = ("--storage-driver=vfs", f"--tmpdir={self.root}/tmp", "--cgroup-manager=cgroupfs")
        command = ["podman", *where, *drivers, "--runtime=runc", *arguments]
        done = ran(command, timeout=2 * HANG)
        assert done.returncode == 0, done.stderr
        return (done.stdout.split() or [""])[-1]

    def create(self, name: str) -> str:
        """Create a container; return its id."""
        return self.run("create", "--network=host", f"--name={name}", IMAGE, "/true")


def podman(root: Path) -> Podman:
    """Return a podman with an image."""
    found = Podman(root)
    (root / "run").mkdir()
    subprocess.run(["tar", "-cf", root / "image.tar", "-C", "/usr/bin", "true"], check=True)
    found.run("import", f"{root}/image.tar", IMAGE)
    return found


def docker(root: Path, id_: str, name: str, below: str = "var/lib/docker") -> Path:
    """Make the file of a container, as dockerd replaces it; return it."""
    file = root / below / "containers" / id_ / "config.v2.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"ID": id_, "Name": f"/{name}", "Config": {"Image": "nginx:1.25"}}))
    return new.replace(file)


def kubelet(root: Path, id_: str, uid: str, names: tuple[str, str, str]) -> None:
    """Make the logs of a container: namespace, pod, container."""
    namespace, pod, container = names
    logs = root / "var/log/pods" / f"{namespace}_{pod}_{uid}" / container
    logs.mkdir(parents=True)
    (logs / "0.log").write_text("")
    links = root / "var/log/containers"
    links.mkdir(exist_ok=True)
    (links / f"{pod}_{namespace}_{container}-{id_}.log").symlink_to(logs / "0.log")


@contextmanager
def opened(root: Path, *users: tuple[int, Path]) -> Iterator[list[Folder]]:
    """Open the folders below `root`, and those of some users with their homes."""
    passwd = root / "passwd"
    passwd.write_text("".join(f"u{uid}:x:{uid}:{uid}::{home}:/bin/sh\n" for uid, home in users))
    found = folders.opened(root, passwd)
    try:
        yield found
    finally:
        for folder in found:
            os.close(folder.descriptor)
