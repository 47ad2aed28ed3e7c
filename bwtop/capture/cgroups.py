"""The root of the cgroup v2 hierarchy."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bwtop.capture.mounts import Mount, mounts

_PROC: Final = Path("/proc")


def v2_root(proc: Path = _PROC) -> str | None:
    """Return a path of the root of the v2 hierarchy, or None.

    Where this process sees none, as under `ip netns exec`, which mounts another /sys, the path leads through the root
    of the process that started it, or of that one's parent, and so on.
    """
    with contextlib.suppress(OSError):
        for process in _ancestry(proc):
            point = mount_point(mounts(process / "mountinfo"))
            if point is not None:
                return point if process.name == "self" else f"{process}/root{point}"
    return None


def mount_point(mounted: Iterable[Mount]) -> str | None:
    """Return where the hierarchy is mounted: /sys/fs/cgroup, /sys/fs/cgroup/unified (hybrid), or None."""
    for mount in mounted:
        if mount.kind == "cgroup2" and mount.root == "/":
            return mount.point
    return None


def _ancestry(proc: Path) -> Iterator[Path]:
    """Yield this process's directory, its parent's, and so on; raise OSError where one cannot be read."""
    name = "self"
    while name != "0":
        yield proc / name
        status = (proc / name / "status").read_text(errors="replace")
        name = status.partition("\nPPid:")[2].split()[0]
