"""Landlock: a process may give up access to files for good, whatever its user could open (landlock(7), Linux 5.13)."""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444  # the same number on every architecture (syscalls(2), since 5.1)
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1  # uapi/linux/landlock.h, with the rest
_RULE_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_FILE: Final = 1 << 5
_MAKE_DIR: Final = 1 << 7
_MAKE_REG: Final = 1 << 8
_TRUNCATE: Final = 1 << 14

_HANDLED: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""All rights that an ABI knows for files, by ABI; later ones add rights for devices, TCP and signals."""

_READ: Final = _READ_FILE | _READ_DIR  # nothing is executed any more
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_ONLY_FOR_DIRECTORIES: Final = _READ_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG

READABLE: Final = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc",  # passwd, resolv.conf, certificates: what is secret there is root's alone
    "/proc",
    "/sys",
    "/dev",
    "/run",  # sockets and files of name services
    "/var/lib/extrausers",
    "/var/lib/misc",
    "/var/lib/sss",
    "/var/cache/nscd",
)
"""The folders of the system's own files, which stay readable."""

WRITABLE_DEVICES: Final = ("/dev/null", "/dev/tty")


def abi() -> int:
    """Return the version of Landlock that this kernel offers; 0: none."""
    return max(_syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION), 0)


def restrict(
    *, readable: Iterable[Path] = (), writable: Iterable[Path] = (), system: bool = True
) -> bool:
    """Give up, for good, opening files but the system's, bwtop's own and `readable` ones, and `writable` ones to write.

    Without `system`, the system's and bwtop's own are given up, too.  Descriptors that are open stay as they are.  Call it before any thread is started, after no_new_privs is set.
    Returns False where the kernel has no Landlock; raises OSError where it refuses it.
    """
    version = abi()
    if not version:
        return False
    handled = _HANDLED[min(version, max(_HANDLED))]
    ruleset = _checked(_syscall(_CREATE_RULESET, struct.pack("=Q", handled), 8, 0))
    try:
        for path in (*map(Path, (*READABLE, *_code()) if system else ()), *readable):
            _allow(ruleset, path, _READ & handled)
        for path in (*map(Path, WRITABLE_DEVICES if system else ()), *writable):
            _allow(ruleset, path, _WRITE & handled)
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _code() -> Iterator[str]:
    """Yield where modules are imported from: most are, after the start, when they are first needed."""
    yield from (path for path in (*sys.path, sys.prefix, sys.base_prefix) if path)


def _allow(ruleset: int, path: Path, access: int) -> None:
    """Add a rule for a file, or for a directory and everything below it; none for what is not there."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            access &= ~_ONLY_FOR_DIRECTORIES
        rule = struct.pack("=Qi", access, descriptor)
        _checked(_syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    return int(_LIBC.syscall(number, *arguments))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
