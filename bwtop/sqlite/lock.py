"""Who records: one bwtop at a time."""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid."""

_LONGEST: Final = 200


def lock_path(database: Path) -> Path:
    """Where the lock of a database is."""
    return database.with_name(database.name + ".lock")


class Lock:
    """A lock of an open file (F_OFD_SETLK): the kernel lets go of it when its process ends, however it ends."""

    def __init__(self, database: Path, mode: int) -> None:
        """Opens the file that is locked; raises OSError."""
        self._descriptor = os.open(
            lock_path(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode
        )

    def take(self, who: str) -> bool:
        """Whether the lock is ours now; others will read who we are."""
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: it is another's
            return False
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, who.encode(errors="replace"), 0)
        return True

    def holder(self) -> str | None:
        """Who holds it; None: nobody else."""
        return _holder(self._descriptor)

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._descriptor)


def holder(database: Path) -> str | None:
    """Who records in a database now; None: nobody, or it cannot be known."""
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
