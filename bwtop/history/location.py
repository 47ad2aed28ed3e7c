"""Where the history is, and to whom it belongs."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM: Final = Path("/var/lib/bwtop/history.db")
"""The service's; members of its directory's group may read it."""


def default_path(environment: Mapping[str, str], home: Path) -> Path:
    """The database of whoever runs bwtop (XDG Base Directory Specification 0.8)."""
    if environment.get("BWTOP_DB"):
        return Path(environment["BWTOP_DB"])
    if os.access(SYSTEM, os.R_OK):
        return SYSTEM
    state = Path(environment.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # as the specification demands
        state = home / ".local" / "state"
    return state / "bwtop" / "history.db"


def owner(path: Path, user: tuple[int, int] | None) -> tuple[int, int]:
    """(uid, gid) of whom a database belongs to, or will when it is made: with (0, 0) only root can open it.

    It belongs to whom it belongs to.  A new one belongs to the user behind sudo where that user may write, else to
    the owner of the directory.
    """
    if path.exists():
        found = path.stat()
        return found.st_uid, found.st_gid
    directory = next((p for p in path.absolute().parents if p.is_dir()), Path("/"))
    found = directory.stat()
    if user and (found.st_uid == user[0] or found.st_mode & stat.S_IWOTH):
        return user
    return found.st_uid, found.st_gid


def make_directory(path: Path) -> None:
    """Makes the database's directory and those it is in, for its owner alone, where they are missing."""
    for directory in reversed(path.absolute().parents):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)


def mode(path: Path) -> int:
    """Permissions of a database and what lies beside it."""
    return 0o640 if path.parent == SYSTEM.parent else 0o600
