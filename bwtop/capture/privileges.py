"""Giving up root once the descriptors are here."""

import ctypes
import os
import pwd
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38  # uapi/linux/prctl.h
_NOBODY: Final = 65534


def unprivileged_user() -> tuple[int, int]:
    """(uid, gid) of who runs bwtop: the one behind sudo, else nobody."""
    try:
        uid, gid = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    except (KeyError, ValueError):
        uid = gid = 0
    return (uid, gid) if uid > 0 and gid > 0 else (_NOBODY, _NOBODY)


def drop() -> None:
    """Leaves root for good: uid, groups, all capabilities, and the way back through set-uid programs."""
    uid, gid = unprivileged_user()
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = []
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # capabilities(7): leaving uid 0 clears all sets
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs is refused")
