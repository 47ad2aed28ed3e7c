"""Where the history is, and with whose rights it is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.rights import account as accounts
from bwtop.rights import opening
from bwtop.rights.account import Account

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


@dataclass(frozen=True)
class Place:
    """A database, and the rights to open it with."""

    path: Path
    """Absolute, without links."""
    account: Account | None
    """None: the rights that this process has."""


def place(named: Path | None, environment: Mapping[str, str]) -> Place:
    """Return where the history is: where the user says, else by default.  Raises OSError and account.AccountError.

    An existing database keeps its owner; a new one belongs to the account.
    """
    path = named or default_path(environment, accounts.home(environment))
    is_default = named is None and not environment.get("BWTOP_DB")
    account = opening.rights(path, environment, named=not (is_default and path == SYSTEM))
    return Place(opening.resolved(path, account), account)


def make_directory(path: Path) -> None:
    """Makes the database's directory and those it is in, for its owner alone, where they are missing."""
    for directory in reversed(path.absolute().parents):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)


def mode(path: Path) -> int:
    """Permissions of a database and what lies beside it."""
    return 0o640 if path.parent == SYSTEM.parent else 0o600
