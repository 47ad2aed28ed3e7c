"""What is mounted where, from /proc/PID/mountinfo."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_OWN: Final = Path("/proc/self/mountinfo")


class Mount(NamedTuple):
    """A line of proc_pid_mountinfo(5)."""

    root: str
    """The part of the file system that is mounted; of a namespace its name, such as net:[4026531840]."""
    point: str
    kind: str
    """The type of the file system."""


def mounts(file: Path = _OWN) -> Iterator[Mount]:
    """Yield the mounts of a mountinfo file; raises OSError."""
    return parsed(file.read_text(errors="surrogateescape"))  # a mount point's name may be any bytes


def parsed(text: str) -> Iterator[Mount]:
    """Yield the mounts in the text of a mountinfo file."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()[:1]
        if len(fields) > 4 and kind:
            yield Mount(fields[3], _unescape(fields[4]), kind[0])


def _unescape(path: str) -> str:
    """Replace the three octal digits by which the kernel writes space, tab, newline and backslash."""
    for code in (0o040, 0o011, 0o012, 0o134):
        path = path.replace(f"\\{code:03o}", chr(code))
    return path
