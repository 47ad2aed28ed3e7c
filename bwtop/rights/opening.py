"""Opening what a user named: a path is resolved, created and read with that user's rights, never with root's.

Root itself opens only what lies in directories that root alone can write.  Everything else is done by a process that
has become the user: a forked one for files that are read once, the whole of bwtop for the history.
"""

import contextlib
import errno
import json
import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bwtop.rights import account as accounts
from bwtop.rights import privileges
from bwtop.rights.account import Account

SECONDS: Final = 10.0
"""In which a file must have been read: a user's own file system (FUSE) may never answer."""

_DEATH: Final = 0.5
"""Seconds to wait for the end of a killed process, which takes milliseconds."""

MOST_LINKS: Final = 40
"""Symbolic links in one path, as the kernel has it (path_resolution(7))."""

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Content:
    """A regular file as it was read."""

    data: bytes
    mode: int
    """As in stat(2)."""
    uid: int
    """Its owner."""


def file_id(file: Path | int) -> tuple[int, int]:
    """Return the device and inode of a file, by its path or descriptor; raises OSError."""
    found = os.stat(file)  # noqa: PTH116  Path has no stat() for descriptors
    return found.st_dev, found.st_ino


def rights(path: Path, environment: Mapping[str, str], *, named: bool = True) -> Account | None:
    """Return the account to open `path` with; None: with this process's own rights.

    Behind sudo that is the user for every path that was `named`, by whatever means.  For other paths, and without sudo,
    see `holder`.  A process that is not root has only its own rights.
    """
    if os.geteuid() != 0:
        return None
    behind = accounts.invoker(environment) if named else None
    return behind or holder(path)


def holder(path: Path) -> Account | None:
    """Return who can change where `path` leads, which nothing above follows a link for; None: root alone.

    The first directory on it that others can write decides: its owner's rights are enough to go on from there.  Those
    of the service where its owner is root.  Raises OSError where a directory cannot be looked into.
    """
    rest = list(reversed(path.absolute().parts[1:]))
    links = 0
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while rest:
            name = rest.pop()
            entry = _entry(directory, name)
            if not _is_roots_alone(os.fstat(directory), entry):
                return _writer(os.fstat(directory), entry)
            if entry is None or not (stat.S_ISLNK(entry.st_mode) or stat.S_ISDIR(entry.st_mode)):
                return None
            if stat.S_ISDIR(entry.st_mode) and entry.st_uid != 0:
                return accounts.of_uid(entry.st_uid, entry.st_gid)
            if stat.S_ISLNK(entry.st_mode):
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = Path(os.readlink(name, dir_fd=directory))
                rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                step = "/" if target.is_absolute() else "."
            else:
                step = name
            directory = _enter(directory, step)
    finally:
        os.close(directory)
    return None


def _entry(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _enter(directory: int, name: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    entered = os.open(name, flags, dir_fd=directory)
    os.close(directory)
    return entered


def _is_roots_alone(directory: os.stat_result, entry: os.stat_result | None) -> bool:
    """Return whether only root can change what an entry of a directory is.

    In a sticky directory others can neither rename nor delete root's own directories (inode(7)); what lies beside files
    of root's there, such as a database's log, anyone can make.
    """
    if directory.st_uid != 0:
        return False
    is_sticky = directory.st_mode & stat.S_ISVTX
    is_roots = entry is not None and entry.st_uid == 0 and stat.S_ISDIR(entry.st_mode)
    return not directory.st_mode & _OTHERS or bool(is_sticky and is_roots)


def _writer(directory: os.stat_result, entry: os.stat_result | None) -> Account:
    if directory.st_uid != 0:
        return accounts.of_uid(directory.st_uid, directory.st_gid)
    if directory.st_mode & stat.S_ISVTX and entry is not None and entry.st_uid != 0:
        return accounts.of_uid(entry.st_uid, entry.st_gid)
    return accounts.service()


def read(path: Path, most: int, account: Account | None) -> Content:
    """Read a regular file of at most `most` bytes with an account's rights; None: with this process's own.

    Never waits for the other end of a FIFO or for a device.  Raises OSError, also for a file that is larger, is not a
    regular one, or does not answer in SECONDS.
    """
    if account is None:
        return _read(path, most)
    described, data = _ask(account, lambda: _parts(_read(path, most)), path)
    return Content(data, described["mode"], described["uid"])


def resolved(path: Path, account: Account | None) -> Path:
    """Return the absolute path without links, looked up with an account's rights, as far as they reach."""
    absolute = path.absolute()
    if account is None:
        return _resolved(absolute)
    _, data = _ask(account, lambda: ({}, os.fsencode(_resolved(absolute))), path)
    return Path(os.fsdecode(data))


def _resolved(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except OSError:  # a link that may not be read, such as /proc/1/root: opening the path says so
        return path


def check_writers(path: Path, content: Content, trusted: Iterable[int]) -> None:
    """Raise PermissionError where others than root and the `trusted` uids could have written a file."""
    if content.uid not in {0, *trusted}:
        raise PermissionError(
            errno.EPERM, f"belongs to uid {content.uid}, so root does not read it", str(path)
        )
    if content.mode & _OTHERS:
        raise PermissionError(
            errno.EPERM, f"can be written by others; run: chmod go-w {path}", str(path)
        )


def _read(path: Path, most: int) -> Content:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return Content(data, status.st_mode, status.st_uid)


# A process that has become the user.  What it answers is bytes: a line of JSON, then data.

_Parts = tuple[dict[str, Any], bytes]


def _parts(content: Content) -> _Parts:
    return {"mode": content.mode, "uid": content.uid}, content.data


def _ask(account: Account, action: Callable[[], _Parts], path: Path) -> _Parts:
    """Return what `action` returns in a process that has become `account`; raises the OSError that it raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _answer(writing, account, action)
    os.close(writing)
    try:
        answer = _received(reading, path)
    finally:
        os.close(reading)
        end(pid)
    head, _, data = answer.partition(b"\n")
    if not head:
        raise OSError(errno.EIO, f"cannot be read as uid {account.uid}", str(path))
    described = json.loads(head)
    if "errno" in described:
        raise OSError(described["errno"], described["error"], str(path))
    return described, data


def end(pid: int) -> None:
    """Kill a child process and reap it; leave it to init where it does not die.

    SIGKILL does not end a process whose request a daemon of FUSE has taken and does not answer.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEATH
    while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < deadline:
        time.sleep(0.001)


def _answer(writing: int, account: Account, action: Callable[[], _Parts]) -> None:
    """Live as the forked process, to its end."""
    try:
        os.closerange(1, 3)  # whoever reads bwtop's output and errors waits for bwtop alone
        privileges.drop(account)
        try:
            described, data = action()
        except OSError as error:
            described, data = {"errno": error.errno, "error": error.strerror}, b""
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(described).encode() + b"\n" + data)
    finally:
        os._exit(0)


def _received(reading: int, path: Path) -> bytes:
    deadline = time.monotonic() + SECONDS
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            raise OSError(errno.ETIMEDOUT, "does not answer", str(path))
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
