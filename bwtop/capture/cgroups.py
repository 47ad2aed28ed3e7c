"""The mount point of the cgroup v2 hierarchy."""

from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")


def v2_root(mountinfo: str | None = None) -> str | None:
    """Return the mount point of the root of the v2 hierarchy, or None.

    It may be /sys/fs/cgroup, /sys/fs/cgroup/unified (hybrid) or not mounted.  Lines: proc_pid_mountinfo(5).
    """
    text = mountinfo
    if text is None:  # a mount point's name may be any bytes
        text = _MOUNTINFO.read_text(errors="surrogateescape")
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if after.split()[:1] == ["cgroup2"] and fields[3] == "/":
            return _unescape(fields[4])
    return None


def _unescape(path: str) -> str:
    """Replace the three octal digits by which the kernel writes space, tab, newline and backslash."""
    for code in (0o040, 0o011, 0o012, 0o134):
        path = path.replace(f"\\{code:03o}", chr(code))
    return path
