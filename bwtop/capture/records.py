"""Decoding of the kernel side's records.  Their C definitions are in bpf/records.h; both sides assert the sizes."""

import codecs
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, Traffic
from bwtop.names.heard import Heard

PROCESS_KEY: Final = struct.Struct("<QII")
REMOTE: Final = struct.Struct("<BBH4x16s")
"""The part of struct flow_key behind the process."""

FLOW_KEY: Final = struct.Struct("<QIIBBH4x16s")
FLOW_VALUE: Final = struct.Struct("<QQ")
FLOW: Final = struct.Struct(f"<{FLOW_VALUE.size}s{FLOW_KEY.size}sI4x")
"""struct flow: counters, key, generation."""

FLOW_COUNTERS: Final = struct.Struct("<QQ48x")
"""The same, of which only the counters are of interest."""

FLOW_PROCESS: Final = 16
FLOW_GENERATION: Final = 56
"""Places in struct flow: of the key, which begins with the process, and of the generation."""

FREE_IDS: Final = struct.Struct("<II")
NOTHING: Final = struct.Struct("<I")
LOSS: Final = struct.Struct("<7Q")
HEARD: Final = struct.Struct("<QII16sQIHBxII")
PROCESS: Final = struct.Struct("<IIHHHH16s256s768s768s")

assert PROCESS_KEY.size == 16
assert FLOW_KEY.size == PROCESS_KEY.size + REMOTE.size == 40
assert FLOW_VALUE.size == 16
assert FLOW.size == FLOW_COUNTERS.size == FLOW_GENERATION + 8 == 64
assert FREE_IDS.size == 8
assert LOSS.size == 56
assert HEARD.size == 56
assert PROCESS.size == 1824

_KTHREAD: Final = 1
_EXE_COMPLETE: Final = 2
_EXE_DELETED: Final = 4
_CGROUP_COMPLETE: Final = 8
_CMDLINE_CUT: Final = 16


def process(record: bytes) -> ProcessKey:
    """Return the process of a packed struct process_key."""
    return ProcessKey(*PROCESS_KEY.unpack(record))


def flows(
    batches: Iterable[tuple[memoryview, memoryview]],
) -> Iterator[tuple[ProcessKey, Remote, Traffic]]:
    """Yield the flows of (keys, values), arrays of packed struct flow_key and struct flow_value."""
    for keys, values in batches:
        for key, value in zip(
            FLOW_KEY.iter_unpack(keys), FLOW_VALUE.iter_unpack(values), strict=True
        ):
            yield ProcessKey(*key[:3]), Remote(*key[3:]), Traffic(*value)


def processes(keys: memoryview) -> Iterator[ProcessKey]:
    """Yield the processes of packed struct process_key."""
    return map(ProcessKey._make, PROCESS_KEY.iter_unpack(keys))


def loss(record: bytes, missed_events: int) -> Loss:
    """Return the kernel side's counts of losses; missed_events: events that no program saw."""
    *counts, missed_calls, unheard = LOSS.unpack(record)
    return Loss(*counts)._replace(missed_events=missed_events + missed_calls, unheard=unheard)


def heard(ring: Iterable[bytes]) -> Iterator[Heard]:
    """Yield the parts of messages in records of struct heard."""
    for record in ring:
        start, pid, execs, address, socket, offset, port, kind, total, length = HEARD.unpack_from(
            record
        )
        yield Heard(
            ProcessKey(start, pid, execs),
            address,
            port,
            kind,
            socket,
            offset,
            length == total,
            record[HEARD.size : HEARD.size + length],
        )


def identity(record: bytes, started: datetime) -> Identity | None:
    """Return the identity in a struct process, None if it is being written; `started` in UTC."""
    (uid, flags, cmdline_length, exe_length, cgroup_length, complete, *texts) = PROCESS.unpack(
        record
    )
    if not complete:
        return None
    comm, cmdline, exe, cgroup = texts
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
