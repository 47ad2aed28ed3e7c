"""The rights that bwtop keeps after its start: one account, no more capabilities than it needs, few files."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from bwtop.rights import landlock, privileges
from bwtop.rights.account import Account


def confine(
    account: Account,
    database: Path | None = None,
    *,
    keep: Iterable[int] = (),
    prepare: Callable[[], object] = lambda: None,
) -> None:
    """Drop root for `account`, keep only these capabilities, and open no file but the system's and the database.

    `prepare` is called in between, to create with the account's rights what Landlock forbids later.  A process that is
    not root keeps its user.  Call it before any thread is started.  Raises privileges.PrivilegeError, and OSError where
    the kernel refuses Landlock.
    """
    privileges.drop(account, keep=keep)
    prepare()
    if database is None:
        landlock.restrict()
    elif _is_folder(database.parent):
        landlock.restrict(writable=[database.parent])
    else:  # another bwtop may create it later
        landlock.restrict(readable=[_nearest(database)])


def _is_folder(path: Path) -> bool:
    """Return whether this account can see a directory there."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir() raises PermissionError before Python 3.14


def _nearest(path: Path) -> Path:
    """Return the nearest directory above a path that exists."""
    return next((above for above in path.absolute().parents if _is_folder(above)), Path("/"))
