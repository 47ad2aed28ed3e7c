"""Files in a layer of the stage, compared without following a link."""

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """All of a file that an attack could change."""

    mode: int
    uid: int
    gid: int
    device: int
    content: str
    """A digest, or where a link leads."""

    @property
    def is_whiteout(self) -> bool:
        """True if the entry marks a file of a layer below as deleted (overlayfs: a character device 0:0)."""
        return stat.S_ISCHR(self.mode) and self.device == 0

    def __str__(self) -> str:
        return f"{stat.filemode(self.mode)} {self.uid}:{self.gid} {self.content[:12]}"


def entry(path: Path) -> Entry | None:
    """Return the file at a path, None if there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    content = ""
    if stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    is_device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
    return Entry(
        found.st_mode, found.st_uid, found.st_gid, found.st_rdev if is_device else 0, content
    )


def entries(top: Path) -> dict[str, Entry]:
    """Return all files below a directory, by their paths in it."""
    found = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            there = entry(path)
            if there:
                found[str(path.relative_to(top))] = there
    return found


def change(name: str, before: Entry | None, after: Entry | None) -> str:
    """Say what happened to a file; empty: nothing.

    overlayfs copies a file into the upper layer when it is opened for writing, even if nothing is written.
    """
    if after is None or after.is_whiteout:
        return f"/{name} was removed" if before else ""
    if before is None:
        return f"/{name} was made: {after}"
    if before != after:
        return f"/{name} was changed: {before} to {after}"
    return "" if stat.S_ISDIR(after.mode) else f"/{name} was opened for writing"


def taken_by_root(name: str, before: Entry | None, after: Entry | None) -> str:
    """Say whether a file is root's and was not; empty: it is another's, or was root's."""
    if after is None or after.is_whiteout or 0 not in (after.uid, after.gid):
        return ""
    was = before is not None and 0 in (before.uid, before.gid)
    return "" if was else f"/{name} is root's now: {after}"
