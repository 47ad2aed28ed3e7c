"""A folder that only this process's user can change, and files in it that are believed.

Every step on the way is opened without following links and checked by its descriptor, so that nothing can be put in its
place between the check and the use.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[int]:
    """Open a folder, for the body; create the last one of the path if it is missing.

    Raise OSError if it, or a folder above it, is a link or could be changed by another user than root.
    """
    folder = os.open("/", _FOLDER)
    try:
        for place in reversed((path, *path.parents[:-1])):
            if create and place == path:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place.name, stat.S_IRWXU, dir_fd=folder)
            entered = _enter(folder, place)
            os.close(folder)
            folder = entered
            _check(os.fstat(folder), place, is_private=place == path)
        yield folder
    finally:
        os.close(folder)


def read(folder: int, name: str, most: int) -> bytes:
    """Read a file of at most `most` bytes; raise OSError if another user could have written it."""
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        _check(status, Path(name), is_private=True)
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", name)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def replace(folder: int, name: str, content: bytes) -> None:
    """Write a file, which appears under its name when it is complete; raises OSError."""
    unfinished = f"{name}.new"
    _remove(folder, unfinished)  # of a process that was killed
    descriptor = os.open(unfinished, _CREATE, stat.S_IRUSR | stat.S_IWUSR, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        _remove(folder, unfinished)
        raise


def _enter(folder: int, place: Path) -> int:
    try:
        return os.open(place.name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "not a directory, or a link", str(place)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None


def _check(status: os.stat_result, place: Path, *, is_private: bool) -> None:
    """Raise PermissionError for what another user can change, or a private place that another user can look into.

    In a sticky directory others can neither rename nor delete what is not theirs (inode(7)).
    """
    owners = {os.geteuid()} if is_private else {0, os.geteuid()}
    if status.st_uid not in owners:
        raise PermissionError(errno.EPERM, f"belongs to uid {status.st_uid}", str(place))
    is_sticky = status.st_mode & stat.S_ISVTX
    if status.st_mode & (_OTHERS if is_private else 0 if is_sticky else _WRITABLE):
        raise PermissionError(errno.EPERM, "other users have access", str(place))


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
