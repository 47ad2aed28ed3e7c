"""What is fetched from Debian's archive once and kept for a while."""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FRESH = 7 * 86400
"""Seconds for which it is used without asking the archive for something newer."""


class NotFetchedError(Exception):
    """Something cannot be had here, for the reason given."""


def cache_folder() -> Path:
    """Where it is kept."""
    if folder := os.environ.get("BWTOP_KERNELS"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bwtop" / "kernels"


@contextmanager
def current_of(name: str) -> Iterator[Path]:
    """Yield the link to a thing's newest version; meanwhile no second run fetches the same."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder / "current"


def kept(name: str, renew: Callable[[Path], None], fresh: float = FRESH) -> tuple[Path, str]:
    """Return the newest version of a thing, and why it could not be renewed, if that is so.

    renew: makes the link that it is given lead to the newest version.  Raises NotFetchedError if there is none at all.
    """
    with current_of(name) as current:
        old = ""
        if not is_fresh(current, fresh):
            try:
                renew(current)
            except (subprocess.SubprocessError, OSError, NotFetchedError) as error:
                if not current.exists():
                    raise NotFetchedError(reason(error)) from error
                old = reason(error)
        return current.resolve(), old


def is_fresh(current: Path, fresh: float) -> bool:
    """Return whether the archive need not be asked."""
    return current.exists() and time.time() - current.lstat().st_mtime < fresh


def reason(error: Exception) -> str:
    """Why something could not be had, in a line: apt's first error, of which the later ones follow."""
    if isinstance(error, subprocess.CalledProcessError):
        errors = re.findall(r"^E: (.*)$", str(error.stderr or ""), re.MULTILINE)
        return str(errors[0]) if errors else f"{error.cmd[0]} failed"
    return str(error)


def make(target: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder, filled, unless it is there; it is never there half."""
    if target.exists():
        return
    partial = target.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    fill(partial)
    partial.rename(target)


def point(current: Path, target: Path) -> None:
    """Make a link, new even if it was there, and remove what it no longer leads to."""
    link = current.with_name("new")
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    link.rename(current)
    for old in current.parent.iterdir():
        if old.is_dir() and not old.is_symlink() and old != target:
            shutil.rmtree(old)
