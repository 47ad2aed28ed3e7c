"""Probes at the entry and the return of kernel functions, as events of tracefs.

Only there can the number of concurrent calls of a function be set (maxactive).  By default it is about ten, and returns
beyond that are not seen.  Format: Documentation/trace/kprobetrace.rst.

A program is attached through a perf event, so it ends with its descriptor; the event's name stays, without a probe.  A
shell waits for the end of bwtop and removes the names.  If the shell is killed too, the next start removes them.
"""

import ctypes
import fcntl
import functools
import os
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bwtop.capture.libbpf import RefusedError, error_text

MAX_ACTIVE: Final = 4096
"""Concurrent calls of one function: KRETPROBE_MAXACTIVE_MAX in kernel/trace/trace_kprobe.c."""

_KALLSYMS: Final = Path("/proc/kallsyms")
_GROUP: Final = "bwtop"
_NAME: Final = re.compile(rf"{_GROUP}/bwtop_(?P<owner>[0-9]+)_(?P<start>[0-9]*)_[pr]_")
"""The name of an event."""

_ROOTS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}  # asm/unistd.h
_PERF_TYPE_TRACEPOINT: Final = 2  # uapi/linux/perf_event.h, with the rest
_PERF_FLAG_FD_CLOEXEC: Final = 8
_PERF_EVENT_IOC_ENABLE: Final = 0x2400
_PERF_EVENT_IOC_SET_BPF: Final = 0x40042408
_ATTR: Final = struct.Struct("=IIQQ88x")
"""struct perf_event_attr up to sample_period, PERF_ATTR_SIZE_VER5 bytes."""

_SWEEP: Final = """
events=$1; shift
read -r _
patience=600
for name in "$@"; do
    until echo "-:$name" >>"$events"; do
        patience=$((patience - 1))
        [ $patience -gt 0 ] || exit 1
        sleep 0.1
    done
done
"""
"""Waits for the end of its input, which is the end of bwtop, and removes the events.

The kernel detaches programs one by one, after a grace period each: that can take seconds; this waits up to a minute."""


class Events:
    """The events of one bwtop; raises RefusedError where the kernel has none."""

    def __init__(self, owner: int) -> None:
        """owner: the pid of bwtop."""
        self.prefix: Final = f"bwtop_{owner}_{_start(owner)}_"
        self._root = _root()
        self._names: list[str] = []
        self._sweep_up()

    def attach(self, program: int, function: str, *, at_return: bool) -> int:
        """Attach a program and return the perf event that holds it; raises RefusedError or OSError."""
        name = f"{self.prefix}{'r' if at_return else 'p'}_{function}"
        kind = f"r{MAX_ACTIVE}" if at_return else "p"
        self._write(f"{kind}:{_GROUP}/{name} {function}")
        self._names.append(f"{_GROUP}/{name}")
        event = int((self._root / "events" / _GROUP / name / "id").read_text())
        return _open(event, program)

    def open_profile(self) -> int:
        """Return a descriptor of the counts of hits and misses, which can be read without root later."""
        return os.open(self._root / "kprobe_profile", os.O_RDONLY)

    def leave_sweeper(self) -> int:
        """Start the shell that removes the events once the returned descriptor is closed."""
        reading, writing = os.pipe()
        subprocess.Popen(  # noqa: S603  nothing of it comes from outside
            ["/bin/sh", "-c", _SWEEP, "sh", str(self._root / "kprobe_events"), *self._names],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reading)
        return writing

    def remove(self) -> None:
        """Remove the events at once, except those in use."""
        for name in self._names:
            self._remove(name)

    def _write(self, command: str) -> None:
        """Write one command; raises RefusedError with the kernel's reason."""
        try:
            events = os.open(self._root / "kprobe_events", os.O_WRONLY | os.O_APPEND)
            try:
                os.write(events, command.encode())
            finally:
                os.close(events)
        except OSError as error:
            raise RefusedError(error_text(error.errno or 0)) from error

    def _remove(self, name: str) -> None:
        try:
            self._write(f"-:{name}")
        except RefusedError:
            return  # in use by another bwtop, which removes it itself

    def _sweep_up(self) -> None:
        """Remove the events of bwtops that were killed."""
        for name in _left(self._read("kprobe_events")):
            self._remove(name)

    def _read(self, file: str) -> str:
        try:
            return (self._root / file).read_text()
        except OSError as error:
            raise RefusedError(error_text(error.errno or 0)) from error


@functools.cache
def symbols() -> frozenset[str]:
    """Return the names of the kernel's functions.

    A name that occurs more than once, or has a suffix since the compiler changed the function, is not among them.
    """
    names = Counter(
        name
        for _, kind, name, *_ in map(str.split, _KALLSYMS.read_text().splitlines())
        if kind in "tT"
    )
    return frozenset(name for name, count in names.items() if count == 1)


def missed(profile: str, prefix: str) -> int:
    """Return the number of hits at which the probes of a bwtop missed their programs.

    Lines of kprobe_profile: event, hits, misses (probes_profile_seq_show() in kernel/trace/trace_kprobe.c).
    """
    rows = (line.split() for line in profile.splitlines())
    return sum(int(row[2]) for row in rows if row and row[0].startswith(prefix))


def _left(events: str) -> Iterator[str]:
    """Yield the names of events whose bwtop has ended, from lines like "r4096:bwtop/bwtop_17_4711_r_f f+0"."""
    for line in events.splitlines():
        name = line.split()[0].partition(":")[2]
        made = _NAME.match(name)
        if made and made["start"] != _start(int(made["owner"])):
            yield name


def _start(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" if there is none with that pid.

    Pids repeat, in containers at each start.  Field 22 of proc_pid_stat(5); the second is a name of any characters.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]


def _root() -> Path:
    for root in _ROOTS:
        if os.access(root / "kprobe_events", os.F_OK):  # False without permission, too
            return root
    if any(os.access(root / "trace", os.F_OK) for root in _ROOTS):
        raise RefusedError("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
    raise RefusedError("tracefs cannot be read at /sys/kernel/tracing")


def _open(event: int, program: int) -> int:
    """Return a perf event for the tracepoint of a kprobe, on all processors, that runs the program."""
    number = _PERF_EVENT_OPEN[os.uname().machine]
    attr = _ATTR.pack(_PERF_TYPE_TRACEPOINT, _ATTR.size, event, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, attr, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        fcntl.ioctl(descriptor, _PERF_EVENT_IOC_SET_BPF, program)
        fcntl.ioctl(descriptor, _PERF_EVENT_IOC_ENABLE, 0)
    except OSError:
        os.close(descriptor)
        raise
    return int(descriptor)
