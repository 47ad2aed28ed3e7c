"""Where the cgroup v2 hierarchy is mounted."""

from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")


def v2_root(mountinfo: str | None = None) -> str | None:
    """The mount point of the v2 hierarchy's root, or None.

    It may be /sys/fs/cgroup, /sys/fs/cgroup/unified (hybrid) or not mounted.  Lines: proc_pid_mountinfo(5).
    """
    text = mountinfo
    if text is None:  # anybody may give a mount point a name that is no text
        text = _MOUNTINFO.read_text(errors="surrogateescape")
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if after.split()[:1] == ["cgroup2"] and fields[3] == "/":
            return _unescape(fields[4])
    return None


def _unescape(path: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    for code in (0o040, 0o011, 0o012, 0o134):
        path = path.replace(f"\\{code:03o}", chr(code))
    return path
