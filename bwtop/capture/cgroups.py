"""The root of the cgroup v2 hierarchy."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bwtop.capture.mounts import Mount, mounts

_PROC: Final = Path("/proc")

_NONE: Final = "no cgroup v2 hierarchy is mounted"
_PART: Final = (
    "only a part of the cgroup v2 hierarchy is mounted; start the container with --cgroupns=host"
)


class NoRootError(Exception):
    """The root cannot be reached; the text is the reason."""


def v2_root(proc: Path = _PROC) -> str:
    """Return a path of the root of the v2 hierarchy; raise NoRootError.

    Where this process sees none, as under `ip netns exec`, which mounts another /sys, the path leads through the root
    of the process that started it, or of that one's parent, and so on.
    """
    reason = _NONE
    with contextlib.suppress(OSError):
        for process in _ancestry(proc):
            for point in mount_points(mounts(process / "mountinfo")):
                path = point if process.name == "self" else f"{process}/root{point}"
                match inode(path):
                    case 1:  # what kernfs gives to a root first (cgroup_setup_root() in kernel/cgroup/cgroup.c)
                        return path
                    case int():
                        reason = _PART
    raise NoRootError(reason)


def mount_points(mounted: Iterable[Mount]) -> Iterator[str]:
    """Yield where the hierarchy, or a part of it, is mounted: /sys/fs/cgroup, /sys/fs/cgroup/unified (hybrid)."""
    return (mount.point for mount in mounted if mount.kind == "cgroup2")


def inode(path: str) -> int | None:
    """Return the inode of the cgroup that is mounted at a path; None if none can be seen there.

    It tells whether that is the root; in a cgroup namespace mountinfo calls the namespace's own cgroup "/".
    """
    with contextlib.suppress(OSError):
        (Path(path) / "cgroup.procs").stat()  # else another file system is mounted on top
        return Path(path).stat().st_ino
    return None


def _ancestry(proc: Path) -> Iterator[Path]:
    """Yield this process's directory, its parent's, and so on; raise OSError where one cannot be read."""
    name = "self"
    while name != "0":
        yield proc / name
        status = (proc / name / "status").read_text(errors="replace")
        name = status.partition("\nPPid:")[2].split()[0]
