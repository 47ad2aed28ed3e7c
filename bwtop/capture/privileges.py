"""Giving up root once the descriptors are here."""

import ctypes
import os
import pwd
import struct
from typing import Final

_PR_SET_KEEPCAPS: Final = 8  # uapi/linux/prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAP_KILL: Final = 5  # uapi/linux/capability.h
_CAPABILITY_VERSION_3: Final = 0x20080522
_NOBODY: Final = 65534


def drop(user: tuple[int, int] | None, *, keep_kill: bool = False) -> None:
    """Leaves root for a user (uid, gid), or nobody, for good: uid, groups, all capabilities, and the way back.

    With `keep_kill` CAP_KILL stays: who opened the screen as root may send signals from it as root could.  Call it
    before any thread is started: capabilities are a thread's own.
    """
    uid, gid = user or (_NOBODY, _NOBODY)
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = []
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    if keep_kill:
        _prctl(_PR_SET_KEEPCAPS)
    os.setresuid(
        uid, uid, uid
    )  # capabilities(7): leaving uid 0 clears all sets, or all but the permitted one
    if keep_kill:
        _set_capabilities(1 << _CAP_KILL)
    _prctl(_PR_SET_NO_NEW_PRIVS)


def _prctl(option: int) -> None:
    if ctypes.CDLL(None).prctl(option, 1, 0, 0, 0):
        raise OSError(f"prctl({option}) is refused")


def _set_capabilities(mask: int) -> None:
    """Permitted and effective ones, as two 32-bit halves each: capset(2), version 3."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if ctypes.CDLL(None).capset(header, data):
        raise OSError("capset is refused")
