"""Decoding of the kernel side's records.  Their C definitions are in bpf/records.h; both sides assert the sizes."""

import codecs
import functools
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, Traffic
from bwtop.model.sample import FlowTraffic

_PROCESS: Final = struct.Struct("<QII")
_REMOTE: Final = struct.Struct("<BBH4x16s")
_HALVES: Final = struct.Struct(f"{_PROCESS.size}s{_REMOTE.size}s")
_SPARE: Final = 1024
"""Remotes that are kept however few flows there are."""

_make_traffic: Final = functools.partial(tuple.__new__, Traffic)
"""Traffic._make(), without a call in Python."""

PROCESS_KEY: Final = _PROCESS
FLOW_KEY: Final = struct.Struct("<QIIBBH4x16s")
FLOW_VALUE: Final = struct.Struct("<QQ")
NOTHING: Final = struct.Struct("<I")
LOSS: Final = struct.Struct("<6Q")
PROCESS: Final = struct.Struct("<IIHHH2x16s256s768s768s")

assert PROCESS_KEY.size == 16
assert FLOW_KEY.size == _HALVES.size == 40
assert FLOW_VALUE.size == 16
assert LOSS.size == 48
assert PROCESS.size == 1824

_KTHREAD: Final = 1
_EXE_COMPLETE: Final = 2
_EXE_DELETED: Final = 4
_CGROUP_COMPLETE: Final = 8
_CMDLINE_CUT: Final = 16


class _Remotes(dict[bytes, Remote]):
    """Remotes by their part of struct flow_key; a missing one is made."""

    def __missing__(self, record: bytes) -> Remote:
        remote = self[record] = Remote(*_REMOTE.unpack(record))
        return remote


class _ByProcess(dict[bytes, dict[Remote, Traffic]]):
    """Flows by the process's part of struct flow_key; missing ones are empty."""

    def __missing__(self, record: bytes) -> dict[Remote, Traffic]:
        remotes: dict[Remote, Traffic] = {}
        self[record] = remotes
        return remotes


class FlowDecoder:
    """Decodes flow records: up to 65,536 a second, so the work for each is small.

    A remote is made once and kept until far more remotes are kept than flows are active: most flows move bytes in the
    next interval, too.
    """

    def __init__(self) -> None:
        self._remotes = _Remotes()

    def decode(self, batches: Iterable[tuple[memoryview, memoryview]]) -> FlowTraffic:
        """Return the flows of (keys, values), arrays of packed struct flow_key and struct flow_value."""
        found, remotes = _ByProcess(), self._remotes
        for keys, values in batches:
            moved = map(_make_traffic, FLOW_VALUE.iter_unpack(values))
            for (process, remote), traffic in zip(_HALVES.iter_unpack(keys), moved, strict=True):
                found[process][remotes[remote]] = traffic
        if len(remotes) > _SPARE + 2 * sum(map(len, found.values())):
            remotes.clear()
        return {ProcessKey(*_PROCESS.unpack(key)): flows for key, flows in found.items()}


def processes(keys: memoryview) -> Iterator[ProcessKey]:
    """Yield the processes of packed struct process_key."""
    return map(ProcessKey._make, PROCESS_KEY.iter_unpack(keys))


def loss(record: bytes, missed_events: int) -> Loss:
    """Return the kernel side's counts of losses; missed_events: events that no program saw."""
    *counts, missed_calls = LOSS.unpack(record)
    return Loss(*counts)._replace(missed_events=missed_events + missed_calls)


def identity(record: bytes, started: datetime) -> Identity:
    """Return the identity in a struct process; `started` in UTC."""
    uid, flags, cmdline_length, exe_length, cgroup_length, comm, cmdline, exe, cgroup = (
        PROCESS.unpack(record)
    )
    exe_path = _path(exe[:exe_length]) if flags & _EXE_COMPLETE else None
    if exe_path and flags & _EXE_DELETED:
        exe_path += " (deleted)"  # as /proc/PID/exe says it
    return Identity(
        name=_text(comm.split(b"\0", 1)[0]),
        uid=uid,
        cmdline=_cmdline(cmdline[:cmdline_length], is_cut=bool(flags & _CMDLINE_CUT)),
        exe=exe_path,
        cgroup=_path(cgroup[:cgroup_length]) if flags & _CGROUP_COMPLETE else None,
        kernel=bool(flags & _KTHREAD),
        started=started,
    )


def start_time(key: ProcessKey, boot: float) -> datetime:
    """Return the start of a process in UTC; `boot` is the time of boot in seconds since the epoch."""
    return datetime.fromtimestamp(boot + key.start / 1e9, UTC)


def _path(components: bytes) -> str:
    """Return the path of components that come leaf first, each ended by NUL."""
    names = components.split(b"\0")[:-1]
    return "/" + "/".join(_text(name) for name in reversed(names))


def _cmdline(arguments: bytes, *, is_cut: bool) -> str:
    """Return arguments that end in NUL as text, with an ellipsis for what was cut off.

    A program that has given itself a shorter title fills the rest with NULs; of that nothing is missing.
    """
    said = arguments.rstrip(b"\0")
    text = said.replace(b"\0", b" ")
    if is_cut and len(said) >= len(arguments) - 1:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        return decoder.decode(text) + "…"  # without the bytes of a character that was cut in two
    return _text(text)


def _text(raw: bytes) -> str:
    """Return the text of bytes from outside, with escapes for bytes that are not UTF-8."""
    return raw.decode("utf-8", "backslashreplace")
