"""Dropping root: what loading programs takes, what stays afterwards, and proof that nothing else stayed."""

import ctypes
import os
import signal
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from bwtop.rights import account as accounts
from bwtop.rights.account import NOBODY, Account

CAP_DAC_READ_SEARCH: Final = 2  # uapi/linux/capability.h, with the rest
CAP_KILL: Final = 5
CAP_SETPCAP: Final = 8
CAP_SYS_ADMIN: Final = 21
CAP_PERFMON: Final = 38
CAP_BPF: Final = 39

_PR_SET_PDEATHSIG: Final = 1  # uapi/linux/prctl.h
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522

_NAMES: Final = {
    CAP_DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH",
    CAP_KILL: "CAP_KILL",
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_PERFMON: "CAP_PERFMON",
    CAP_BPF: "CAP_BPF",
}


class PrivilegeError(Exception):
    """The kernel did not drop what it was asked to drop; going on would be unsafe."""


def may_load() -> bool:
    """Return whether the kernel may let this process load programs: root, or CAP_BPF and CAP_PERFMON (5.8)."""
    held = _held("CapEff")
    return os.geteuid() == 0 or CAP_SYS_ADMIN in held or {CAP_BPF, CAP_PERFMON} <= held


def needed(read: Callable[[], object]) -> tuple[int, ...]:
    """Return the capabilities that reading maps takes on this kernel, found out by processes that have no others.

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
        drop(NOBODY, keep=capabilities)
        read()
        status = 0
    except OSError:
        pass  # refused: the answer that was asked for
    finally:
        os._exit(status)


def drop(account: Account, *, keep: Iterable[int] = ()) -> None:
    """Drop root for good: become `account`, with no capability but those to `keep` that are held now.

    A process that is not root keeps its user, and drops its capabilities.  Call it before any thread is started:
    capabilities belong to a thread.  Raises PrivilegeError where the kernel shows afterwards that anything is left.
    """
    kept = frozenset(keep) & _held("CapPrm")
    may_bound = CAP_SETPCAP in _held("CapEff")
    if may_bound:
        _empty_bounding_set()
    if os.geteuid() == 0:
        _become(account, keep_capabilities=bool(kept))
        _verify_user(account)
    _set_capabilities(sum(1 << capability for capability in kept))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _verify_capabilities(kept, bounded=may_bound)


def _become(account: Account, *, keep_capabilities: bool) -> None:
    uid, gid = account
    if not (0 < uid <= accounts.HIGHEST and 0 <= gid <= accounts.HIGHEST):
        raise PrivilegeError(f"{uid}:{gid} is not an account without root")
    os.setgroups(accounts.groups(account))
    os.setresgid(gid, gid, gid)
    if keep_capabilities:
        _prctl(_PR_SET_KEEPCAPS, 1)
    # capabilities(7): leaving uid 0 clears all sets, or all but the permitted one.
    os.setresuid(uid, uid, uid)


def _verify_user(account: Account) -> None:
    status = _status()
    expected = {
        "Uid": [account.uid] * 4,
        "Gid": [account.gid] * 4,
        "Groups": sorted(set(accounts.groups(account))),
    }
    for field, ids in expected.items():
        found = [int(text) for text in status[field].split()]
        if (sorted(set(found)) if field == "Groups" else found) != ids:
            raise PrivilegeError(f"{field} is {status[field]} after dropping root, not {ids}")


def _verify_capabilities(kept: frozenset[int], *, bounded: bool) -> None:
    status = _status()
    expected: dict[str, frozenset[int]] = {
        "CapInh": frozenset(),
        "CapPrm": kept,
        "CapEff": kept,
        "CapAmb": frozenset(),
    }
    if bounded:
        expected["CapBnd"] = frozenset()
    for field, capabilities in expected.items():
        if _bits(status[field]) != capabilities:
            raise PrivilegeError(f"{field} is {status[field]} after dropping capabilities")
    if status["NoNewPrivs"] != "1":
        raise PrivilegeError("the kernel did not set no_new_privs")


def described() -> str:
    """Return who this thread is and what it may do, read back from the kernel, in one line."""
    status = _status()
    held = ", ".join(_NAMES.get(c, str(c)) for c in sorted(_bits(status["CapPrm"]))) or "none"
    bounding = "empty" if not _bits(status["CapBnd"]) else "not empty"
    privileges = "yes" if status["NoNewPrivs"] == "1" else "no"
    return (
        f"uid {status['Uid'].split()[0]}, capabilities: {held}, bounding set: {bounding},"
        f" no_new_privs: {privileges}"
    )


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, its parent, ends; end at once if it has ended already.

    The kernel checks the dying parent's right to send the signal (check_kill_permission() in kernel/signal.c), and
    forgets the wish when this process changes its user (prctl(2)): call it after that.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _status() -> dict[str, str]:
    """Return this thread's fields of proc_pid_status(5)."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def _held(field: str) -> frozenset[int]:
    """Return a set of this thread's capabilities, by its name in proc_pid_status(5)."""
    return _bits(_status()[field])


def _bits(mask: str) -> frozenset[int]:
    number = int(mask, 16)
    return frozenset(bit for bit in range(number.bit_length()) if number >> bit & 1)


def _empty_bounding_set() -> None:
    for capability in _held("CapBnd"):
        _prctl(_PR_CAPBSET_DROP, capability)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, value, 0, 0, 0):
        raise OSError(f"prctl({option}) is refused")


def _set_capabilities(mask: int) -> None:
    """Set the permitted and effective ones, as two 32-bit halves each: capset(2), version 3."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if ctypes.CDLL(None).capset(header, data):
        raise OSError("capset is refused")
