"""The mount point of the cgroup v2 hierarchy."""

from collections.abc import Iterable

from bwtop.capture.mounts import Mount, mounts


def v2_root(mounted: Iterable[Mount] | None = None) -> str | None:
    """Return the mount point of the root of the v2 hierarchy, or None.

    It may be /sys/fs/cgroup, /sys/fs/cgroup/unified (hybrid) or not mounted.
    """
    for mount in mounts() if mounted is None else mounted:
        if mount.kind == "cgroup2" and mount.root == "/":
            return mount.point
    return None
