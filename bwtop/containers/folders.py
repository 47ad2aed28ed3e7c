"""The folders in which container engines keep names, and the reading of what stands in them.

They are opened once, at the start, and then read by these descriptors alone: no path of a user's is walked later.
"""

import contextlib
import ctypes
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from bwtop.capture.mounts import Mount, mounts
from bwtop.containers import places
from bwtop.containers.places import FolderKind
from bwtop.rights.account import HIGHEST

MOST_BYTES: Final = 1 << 20
"""Largest file that is read: a container takes 1 KiB of podman's, and a file of 4 to 16 KiB of docker's."""

MOST_USERS: Final = 1000

STORAGE: Final = ("containers.json", "volatile-containers.json")
"""podman's files with the names of the containers of a storage; the second has those that end with `--rm`."""

CONFIG: Final = "config.v2.json"
"""dockerd's file in the folder of a container."""

_LOCAL: Final = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs")
)
"""File systems that answer at once: a user's own (FUSE) or a server's may never."""

_OPENAT2: Final = 437  # the same number on every architecture (syscalls(2), since 5.6)
_RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08
"""RESOLVE_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH of uapi/linux/openat2.h."""

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Folder(NamedTuple):
    """An open folder of a container engine."""

    kind: FolderKind
    owner: int
    """The uid that it belongs to, as must all that is read in it."""
    path: str
    descriptor: int
    """Opened with O_PATH."""


def opened(root: Path = Path("/"), users: Path = Path("/etc/passwd")) -> list[Folder]:
    """Open the folders that exist, of the system and of the users in a passwd(5) file."""
    found = [*_of_system(root)]
    mounted = list(mounts())
    for uid, home in _homes(users):
        found += _of_user(uid, home, mounted)
    return found


def _of_system(root: Path) -> Iterator[Folder]:
    """Open root's folders; root may have moved them with links."""
    for kind, path in places.of_system(root):
        try:
            descriptor = os.open(root / path.lstrip("/"), _FOLDER)
        except OSError:
            continue
        yield from _owned(Folder(kind, 0, path, descriptor))


def _homes(users: Path) -> Iterator[tuple[int, str]]:
    """Yield the uid and home of each user without root in a passwd(5) file: name services may never answer."""
    try:
        with users.open("rb") as file:
            lines = file.read(MOST_BYTES).decode(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines[:MOST_USERS]:
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdecimal() and 0 < int(fields[2]) <= HIGHEST:
            yield int(fields[2]), fields[5]


def _of_user(uid: int, home: str, mounted: Iterable[Mount]) -> Iterator[Folder]:
    mount = _mount(home, mounted)
    if mount is None or mount.kind not in _LOCAL:
        return
    try:
        top = os.open(mount.point, _FOLDER)
    except OSError:
        return
    try:
        for kind, path in places.OF_USERS:
            whole = PurePosixPath(home, path)
            descriptor = _below(top, str(whole.relative_to(mount.point)))
            if descriptor is not None:
                yield from _owned(Folder(kind, uid, str(whole), descriptor))
    finally:
        os.close(top)


def _mount(path: str, mounted: Iterable[Mount]) -> Mount | None:
    """Return the mount of a path without links; if several are on one point, the last."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        return None
    above = [one for one in mounted if pure.is_relative_to(one.point)]
    return max(reversed(above), key=lambda one: len(one.point), default=None)


def _below(top: int, path: str) -> int | None:
    """Open a folder below another without following a link or entering another mount; None: it is not there."""
    how = struct.pack("=QQQ", _FOLDER, 0, _RESOLVE)
    found = ctypes.CDLL(None).syscall(_OPENAT2, top, os.fsencode(path), how, len(how))
    return found if found >= 0 else None


def _owned(folder: Folder) -> Iterator[Folder]:
    """Yield the folder if it belongs to its owner; else close it."""
    if os.fstat(folder.descriptor).st_uid == folder.owner:
        yield folder
    else:
        os.close(folder.descriptor)


# Reading.

Stamp = tuple[int, ...] | None
"""A value that changes with a file or folder; None: it may change without that."""

_SETTLED: Final = 1.0
"""Seconds after which a change has another time: the kernel's clock for files ticks every 4 ms (inode(7))."""


def _stamp(status: os.stat_result) -> Stamp:
    if time.time() - status.st_mtime < _SETTLED:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def read(folder: Folder, name: str, known: Stamp = None) -> tuple[Stamp, bytes] | None:
    """Return a file of a folder unless its stamp is `known`; empty if it is not one to read.

    That is a regular file of the folder's owner, reached without a link, of at most MOST_BYTES.
    """
    with _open(folder, name, _FILE) as descriptor:
        if descriptor is None:
            return None, b""
        status = os.fstat(descriptor)
        stamp = _stamp(status)
        if stamp and stamp == known:
            return None
        if not stat.S_ISREG(status.st_mode):
            return stamp, b""
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
        return stamp, content if len(content) <= MOST_BYTES else b""


def read_all(
    folder: Folder, files: Sequence[str], known: Stamp = None
) -> tuple[Stamp, list[bytes]] | None:
    """Return the given files of a folder unless the stamps of all are `known`."""
    stamp = _stamps(folder, files)
    if stamp and stamp == known:
        return None
    return stamp, [(read(folder, name) or (None, b""))[1] for name in files]


def _stamps(folder: Folder, files: Sequence[str]) -> Stamp:
    """Return the stamps of files as one; a missing file has an empty one."""
    found: list[int] = []
    for name in files:
        with _open(folder, name, _FILE) as descriptor:
            stamp = () if descriptor is None else _stamp(os.fstat(descriptor))
        if stamp is None:
            return None
        found += (*stamp, -1)
    return tuple(found)


def read_below(
    folder: Folder, below: str, name: str, known: Stamp = None
) -> tuple[Stamp, bytes] | None:
    """Return a file of a folder in a folder, as `read` does."""
    with _open(folder, below, _FOLDER | os.O_NOFOLLOW) as descriptor:
        if descriptor is None:
            return None, b""
        return read(folder._replace(descriptor=descriptor), name, known)


def names(folder: Folder, most: int, known: Stamp = None) -> tuple[Stamp, list[str]] | None:
    """Return at most so many names in a folder unless its stamp is `known`."""
    with _open(folder, ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as descriptor:
        if descriptor is None:
            return None, []
        stamp = _stamp(os.fstat(descriptor))
        if stamp and stamp == known:
            return None
        with os.scandir(descriptor) as entries:
            return stamp, [entry.name for entry in islice(entries, most)]


@contextlib.contextmanager
def _open(folder: Folder, name: str, flags: int) -> Iterator[int | None]:
    """Open what stands in a folder, for the body; None: it is not there, or belongs to another than its owner."""
    try:
        descriptor = os.open(name, flags, dir_fd=folder.descriptor)
    except OSError:
        yield None
        return
    try:
        yield descriptor if os.fstat(descriptor).st_uid == folder.owner else None
    finally:
        os.close(descriptor)
