"""What bwtop may do: enough to load programs, and once they are there as little as the kernel lets it live with."""

import ctypes
import os
import pwd
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

CAP_KILL: Final = 5  # uapi/linux/capability.h, with the rest
CAP_SYS_ADMIN: Final = 21
CAP_PERFMON: Final = 38
CAP_BPF: Final = 39

_PR_SET_KEEPCAPS: Final = 8  # uapi/linux/prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_NOBODY: Final = 65534


def may_load() -> bool:
    """Whether the kernel may let this process load programs: root, or CAP_BPF and CAP_PERFMON (5.8)."""
    held = _held("CapEff")
    return os.geteuid() == 0 or CAP_SYS_ADMIN in held or {CAP_BPF, CAP_PERFMON} <= held


def needed(read: Callable[[], object]) -> tuple[int, ...]:
    """The capabilities without which this kernel refuses to `read` maps, found out by processes that have no others.

    None from 5.19 on; before that, where kernel.unprivileged_bpf_disabled is set, CAP_BPF, and before 5.8
    CAP_SYS_ADMIN.  `read` raises OSError when it is refused.
    """
    for capabilities in ((), (CAP_BPF,), (CAP_SYS_ADMIN,)):
        if _works(read, capabilities):
            return capabilities
    return (CAP_SYS_ADMIN,)


def _works(read: Callable[[], object], capabilities: tuple[int, ...]) -> bool:
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    status = 1
    try:
        drop(None, keep=capabilities)
        read()
        status = 0
    except OSError:
        pass  # which is what was asked
    finally:
        os._exit(status)


def drop(user: tuple[int, int] | None, *, keep: Iterable[int] = ()) -> None:
    """Leaves root for a user (uid, gid), or nobody, for good: uid, groups, all capabilities, and the way back.

    Those to `keep` stay, if they are held now.  Who is not root stays who they are.  Call it before any thread is
    started: capabilities are a thread's own.
    """
    kept = frozenset(keep) & _held("CapPrm")
    if os.geteuid() == 0:
        _become(user or (_NOBODY, _NOBODY), keep_capabilities=bool(kept))
    _set_capabilities(sum(1 << capability for capability in kept))
    _prctl(_PR_SET_NO_NEW_PRIVS)


def _become(user: tuple[int, int], *, keep_capabilities: bool) -> None:
    uid, gid = user
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = []
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    if keep_capabilities:
        _prctl(_PR_SET_KEEPCAPS)
    # capabilities(7): leaving uid 0 clears all sets, or all but the permitted one.
    os.setresuid(uid, uid, uid)


def _held(field: str) -> frozenset[int]:
    """A set of this thread's capabilities, by its name in proc_pid_status(5)."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith(f"{field}:"))
    return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


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
