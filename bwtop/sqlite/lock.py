"""The lock of a recorder: one bwtop records at a time."""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from bwtop.rights.opening import file_id
from bwtop.sqlite.location import UNSEEN, file_seen

_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid."""

_LONGEST: Final = 200


def lock_path(database: Path) -> Path:
    """Return the path of a database's lock file."""
    return database.with_name(database.name + ".lock")


class Lock:
    """Lock of an open file (F_OFD_SETLK): the kernel releases it when its process ends, even by SIGKILL."""

    def __init__(self, database: Path, mode: int) -> None:
        """Open the lock file; raise OSError."""
        self._path = lock_path(database)
        self._descriptor = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode
        )

    def take(self, who: str) -> bool:
        """Try to take the lock, and write `who` for other processes to read; return whether it is held now."""
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another process holds it
            return False
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, who.encode(errors="replace"), 0)
        return True

    def is_in_place(self) -> bool:
        """Return True unless the path is seen to lead elsewhere: a file that was deleted or replaced excludes nobody."""
        return file_seen(self._path) in (file_id(self._descriptor), UNSEEN)

    def holder(self) -> str | None:
        """Return the name of another holder; None: there is none."""
        return _holder(self._descriptor)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def holder(database: Path) -> str | None:
    """Return the name of the recorder of a database; None: no bwtop records, or the lock cannot be read."""
    try:
        descriptor = os.open(lock_path(database), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str | None:
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
    if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK:
        return None
    text = os.pread(descriptor, _LONGEST, 0).decode(errors="replace")
    return text.strip() or "another bwtop"


def _whole_file(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)
