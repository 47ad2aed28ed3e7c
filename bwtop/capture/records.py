"""The kernel's records, decoded.  Their C twins are in bpf/records.h; both sides assert the sizes."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, Traffic

PROCESS_KEY: Final = struct.Struct("<QI4x")
FLOW_KEY: Final = struct.Struct("<QIBBH16s")
FLOW_VALUE: Final = struct.Struct("<QQQQ")
CHANGE: Final = struct.Struct("<I")
LOSS: Final = struct.Struct("<6Q")
PROCESS: Final = struct.Struct("<IIHHH2x16s256s768s768s")

assert PROCESS_KEY.size == 16
assert FLOW_KEY.size == 32
assert FLOW_VALUE.size == 32
assert LOSS.size == 48
assert PROCESS.size == 1824

CHANGE_EXEC: Final = 1
CHANGE_EXIT: Final = 2

_KTHREAD: Final = 1
_EXE_COMPLETE: Final = 2
_EXE_DELETED: Final = 4
_CGROUP_COMPLETE: Final = 8


def flows(keys: memoryview, values: memoryview) -> Iterator[tuple[ProcessKey, Remote, Traffic]]:
    """The flows in two arrays of packed records."""
    records = zip(FLOW_KEY.iter_unpack(keys), FLOW_VALUE.iter_unpack(values), strict=True)
    for (start, pid, protocol, role, port, address), counters in records:
        yield ProcessKey(start, pid), Remote(protocol, role, port, address), Traffic(*counters)


def changes(keys: memoryview, values: memoryview) -> Iterator[tuple[ProcessKey, int]]:
    """Processes and the CHANGE_* bits of each."""
    records = zip(PROCESS_KEY.iter_unpack(keys), CHANGE.iter_unpack(values), strict=True)
    for key, (change,) in records:
        yield ProcessKey(*key), change


def loss(record: bytes, missed_events: int) -> Loss:
    """The kernel side's counts of what it could not keep; missed_events: those that no program saw."""
    *counts, missed_calls = LOSS.unpack(record)
    return Loss(*counts)._replace(missed_events=missed_events + missed_calls)


def identity(record: bytes, started: datetime) -> Identity:
    """Who a process is; `started` in UTC."""
    uid, flags, cmdline_length, exe_length, cgroup_length, comm, cmdline, exe, cgroup = (
        PROCESS.unpack(record)
    )
    exe_path = _path(exe[:exe_length]) if flags & _EXE_COMPLETE else None
    if exe_path and flags & _EXE_DELETED:
        exe_path += " (deleted)"  # as /proc/PID/exe says it
    return Identity(
        name=_text(comm.split(b"\0", 1)[0]),
        uid=uid,
        cmdline=_text(cmdline[:cmdline_length].rstrip(b"\0").replace(b"\0", b" ")),
        exe=exe_path,
        cgroup=_path(cgroup[:cgroup_length]) if flags & _CGROUP_COMPLETE else None,
        kernel=bool(flags & _KTHREAD),
        started=started,
    )


def start_time(key: ProcessKey, boot: float) -> datetime:
    """When a process started, in UTC; `boot` is the boot's time in seconds since the epoch."""
    return datetime.fromtimestamp(boot + key.start / 1e9, UTC)


def _path(components: bytes) -> str:
    """A path from its components, which come leaf first, each ended by NUL."""
    names = components.split(b"\0")[:-1]
    return "/" + "/".join(_text(name) for name in reversed(names))


def _text(raw: bytes) -> str:
    """Text from bytes that nobody vouches for; what is not UTF-8 stays visible as an escape."""
    return raw.decode("utf-8", "backslashreplace")
