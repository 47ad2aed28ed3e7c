"""The location of the history, and the account that opens it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.rights import account as accounts
from bwtop.rights import opening
from bwtop.rights.account import Account

SYSTEM: Final = Path("/var/lib/bwtop/history.db")
"""Database of the service; members of its directory's group may read it."""

UNSEEN: Final = (-1, -1)
"""Device and inode of a file whose directory cannot be read."""


def default_path(environment: Mapping[str, str], home: Path) -> Path:
    """Return the default database of the user (XDG Base Directory Specification 0.8)."""
    if environment.get("BWTOP_DB"):
        return Path(environment["BWTOP_DB"])
    if os.access(SYSTEM, os.R_OK):
        return SYSTEM
    state = Path(environment.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the specification ignores relative paths
        state = home / ".local" / "state"
    return state / "bwtop" / "history.db"


@dataclass(frozen=True)
class Place:
    """A database, and the account to open it with."""

    path: Path
    """Absolute path without symbolic links."""
    account: Account | None
    """None: the account of this process."""


def place(named: Path | None, environment: Mapping[str, str]) -> Place:
    """Return the location of the history: `named`, or the default.  Raises OSError and account.AccountError.

    An existing database keeps its owner; a new one belongs to the account.
    """
    path = named or default_path(environment, accounts.home(environment))
    is_default = named is None and not environment.get("BWTOP_DB")
    account = opening.rights(path, environment, named=not (is_default and path == SYSTEM))
    return Place(opening.resolved(path, account), account)


def make_directory(path: Path) -> None:
    """Create the missing directories of a database, with mode 0700."""
    for directory in reversed(path.absolute().parents):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)


def mode(path: Path) -> int:
    """Return the file mode of a database and of the files beside it."""
    return 0o640 if path.parent == SYSTEM.parent else 0o600


def file_seen(path: Path) -> tuple[int, int] | None:
    """Return device and inode; None: no such file; UNSEEN: its directory cannot be read, since root was dropped."""
    try:
        return opening.file_id(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return UNSEEN
