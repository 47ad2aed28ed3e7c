"""A running measurement: started by the loader, read once a second."""

import os
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from json import loads
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from bwtop.capture import bulk, kprobes, libbpf, loader, records, scheduling
from bwtop.capture.backends import ABSENT, BACKENDS, KPROBE, Backend, named
from bwtop.capture.counters import Counters
from bwtop.capture.listening import RING_BYTES
from bwtop.capture.loader import Limits
from bwtop.capture.ring import Ring
from bwtop.model.flows import (
    OTHER,
    TCP,
    UDP,
    UNATTRIBUTED,
    UNATTRIBUTED_IDENTITY,
    UNKNOWN_ADDRESS,
    UNKNOWN_IDENTITY,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    Role,
    Traffic,
)
from bwtop.model.sample import FlowTraffic, Sample, add_traffic
from bwtop.names.heard import NameReader
from bwtop.rights import privileges

DEFAULT_LIMITS: Final = Limits(flows=65536, processes=16384)

_FIRST: Final = bytes(4)
"""The key of an array's first entry."""

_PATIENCE: Final = 10
"""Milliseconds for which a process's record may be incomplete: it is written within microseconds."""

_BCC_HINT: Final = "apt install python3-bpfcc, and run bwtop with /usr/bin/python3"

_UNATTRIBUTED_PROTOCOLS: Final = (TCP, UDP, OTHER)


class CaptureError(Exception):
    """Measuring cannot start; the text has the reason and what to do."""


@dataclass(frozen=True)
class Report:
    """The result of trying one backend; the fields are those of loader.Attempt."""

    backend: Backend
    refusal: str
    probes: dict[str, str]
    notes: list[str]
    start: str
    names: bool
    """True if programs listen for names of remotes."""

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Self:
        """Make a report of Attempt.description()."""
        return cls(
            named(description["backend"], one_layer=description["one layer"]),
            description["refusal"],
            description["probes"],
            description["notes"],
            description["start"],
            description["names"],
        )

    @property
    def sees_datagrams(self) -> bool:
        """True if each received datagram is counted whole, and with its sender."""
        return self.probes.get("skb_consume_udp") == ""

    def degradations(self) -> list[str]:
        """Return texts for the user: what is not covered, with the reasons."""
        return self.notes + [
            f"{probe.without} ({probe.kind} {probe.target}: {reason})"
            for probe in self.backend.probes
            if (reason := self.probes.get(probe.target, "")) not in ("", ABSENT)
        ]


class Fill(NamedTuple):
    """The fill level of the kernel's table of flows when it was read."""

    entries: int
    room: int
    """The size of the table in flows; bytes of further ones count at the process's '*' remote."""


class Loading:
    """A loader process; start it before any thread, because it is forked."""

    def __init__(
        self,
        backends: Sequence[Backend] = BACKENDS,
        limits: Limits = DEFAULT_LIMITS,
        cache: Path | None = None,
    ) -> None:
        """cache: the folder of compiled programs; None: compile them."""
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._limits = limits
        self._cache = cache
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._load(parent, theirs, backends)
        theirs.close()

    def _load(self, parent: int, connection: socket.socket, backends: Sequence[Backend]) -> None:
        """Run in the child, which shares the parent's memory until it writes, so it needs no second start.

        Leave the user's environment and current directory: BCC would read the one, and its compiler would look for
        headers in the other.
        """
        status = 1
        try:
            privileges.die_with_parent(parent)
            os.chdir("/")
            os.environ.clear()
            os.environ["PATH"] = os.defpath
            self.connection.close()
            loader.serve(connection, backends, self._limits, self._cache)
            status = 0
        except loader.UnsuitedError as error:
            connection.send(str(error).encode())
        except ImportError as error:
            connection.send(f"BCC is missing ({error}): {_BCC_HINT}".encode())
        except BaseException:
            connection.send(traceback.format_exc().encode()[-loader.MESSAGE_SIZE // 2 :])
        finally:
            os._exit(status)

    def finish(self) -> tuple[list[Report], "Capture | None"]:
        """Wait for the loader; return a report of each backend it tried, and the running capture or None.

        Raises CaptureError if the loader failed.
        """
        message, descriptors, _, _ = socket.recv_fds(self.connection, loader.MESSAGE_SIZE, 253)
        self.connection.close()
        _, status = os.waitpid(self._pid, 0)
        if status:
            reason = message.decode() or f"the loader died (wait status {status})"
            raise CaptureError(reason)
        answer = loads(message)
        reports = [Report.from_json(attempt) for attempt in answer["attempts"]]
        if not descriptors:
            return reports, None
        last = answer["attempts"][-1]
        capture = Capture(
            reports[-1],
            self._limits,
            descriptors,
            last["programs"],
            last["events"],
            answer["since"],
        )
        capture.passed_over = [f"{r.backend.name}: {r.refusal}" for r in reports[:-1]]
        return reports, capture

    def start(self) -> "Capture":
        """Wait for the loader and return the running capture; raises CaptureError if no backend works."""
        reports, capture = self.finish()
        if capture is None:
            raise CaptureError(refusals(reports))
        return capture

    def abandon(self) -> None:
        """Kill the loader."""
        self.connection.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _around_reading(backend: Backend) -> Callable[[], AbstractContextManager[None]]:
    """Return what makes the context in which maps are read.

    During a batch call the kernel runs no program of a kprobe on that processor (trace_call_bpf() in
    kernel/trace/bpf_trace.c), even for threads that interrupt the reading on a preemptible kernel.  Others run a system
    call to its end, and programs have one layer there.
    """
    if backend.name != KPROBE.name or backend.has_one_layer:
        return nullcontext
    scheduling.allow()
    return scheduling.uninterrupted


def _read_all(descriptor: int) -> str:
    """Return a file of the kernel from its beginning; reads return a page at a time."""
    content = b""
    while part := os.pread(descriptor, 1 << 16, len(content)):
        content += part
    return content.decode(errors="replace")


def refusals(reports: Sequence[Report]) -> str:
    """Return a text for the user: why no backend works here, and what each needs."""
    reasons = (f"{r.backend.name}: {r.refusal}; it needs {r.backend.needs}" for r in reports)
    return f"no backend works here: {'; '.join(reasons)}"


def _boot_time() -> float:
    """Return when the machine booted, in seconds since 1970.

    A pause between readings of the two clocks would shift the start times of all processes, so of several readings the one
    with the shortest pause is taken.
    """
    readings = []
    for _ in range(5):
        before, now = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        readings.append((time.clock_gettime(time.CLOCK_BOOTTIME) - before, now - before))
    return min(readings)[1]


class Capture:
    """Attached programs and their maps.  Measuring ends when the descriptors are closed."""

    def __init__(
        self,
        report: Report,
        limits: Limits,
        descriptors: list[int],
        programs: int,
        events: str,
        since: float,
    ) -> None:
        self.report = report
        self.passed_over: list[str] = []
        """Refused backends that come before this one, as "name: reason"."""
        self.fill = Fill(0, limits.ids)
        """The fill level at the last reading."""
        self._descriptors = descriptors
        names = (*loader.MAPS, *((loader.HEARD,) if report.names else ()))
        self._maps = dict(zip(names, descriptors, strict=False))
        after_maps = descriptors[len(names) :]
        self.programs = after_maps[:programs]
        self._events = events
        self._profile = after_maps[programs] if events else None
        around = _around_reading(report.backend)
        self.counters = Counters(self._maps, limits.ids, limits.flows, around)
        self._spill = bulk.BatchReader(records.FLOW_KEY.size, records.FLOW_VALUE.size, around)
        self._ended = bulk.BatchReader(records.PROCESS_KEY.size, records.NOTHING.size, around)
        self._spilled = bulk.BatchReader(records.FLOW_KEY.size, records.NOTHING.size, around)
        self._ring = Ring(self._maps[loader.HEARD], RING_BYTES) if report.names else None
        self._names = NameReader()
        self._identities: dict[ProcessKey, Identity] = {}
        self._exited: set[ProcessKey] = set()
        """Those of them that have exited."""
        self._grown: FlowTraffic = {}
        self._loss = Loss()
        self._since = since
        self._boot = _boot_time()

    def close(self) -> None:
        """Detach everything."""
        self.counters.close()
        if self._ring:
            self._ring.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def try_reading(self) -> None:
        """Read an entry without changing it; raises OSError if the kernel refuses."""
        libbpf.map_lookup(self._maps["bwtop_loss"], _FIRST, records.LOSS.size)

    def read(self) -> Sample:
        """Return the traffic since the previous reading.

        Ends are taken first: the bytes of a process that has ended by then are in this reading, not in a later one.
        """
        exits = self._drain_ended()
        now = time.monotonic()
        sample = Sample(time=datetime.now(UTC), elapsed=now - self._since, exited=exits)
        self._since = now
        sample.traffic = self.counters.read(exits)
        self.fill = self.fill._replace(entries=self.counters.in_use)
        if self._ring:
            sample.learned = [*self._names.read(records.heard(self._ring.records()))]
        self._read_losses(sample)
        for process in sample.traffic:
            sample.identities[process] = self._identity(process)
        self._forget(exits, sample.traffic)
        return sample

    def _drain_ended(self) -> set[ProcessKey]:
        """Return the processes that have exited or called exec since the previous reading."""
        ended: set[ProcessKey] = set()
        for keys, _ in self._ended.read(self._maps["bwtop_ended"], delete=True):
            ended.update(records.processes(keys))
        return ended

    def _read_losses(self, sample: Sample) -> None:
        """Add to the sample the bytes that did not fit the table of flows, and the counts of losses."""
        record = libbpf.map_lookup(self._maps["bwtop_loss"], _FIRST, records.LOSS.size)
        assert record is not None, "an array has all its entries"
        loss = records.loss(record, self._missed_events())
        sample.loss = loss.minus(self._loss)
        self._loss = loss
        if sample.loss.spilled:
            deque(self._spilled.read(self._maps["bwtop_spilled"], delete=True), maxlen=0)
        if loss.spilled:
            for spilled in records.flows(self._spill.read(self._maps["bwtop_spill"])):
                self._add_growth(sample, *spilled)
        if loss.unattributed:
            self._read_unattributed(sample)

    def _missed_events(self) -> int:
        """Return the number of events that missed their program since the start."""
        missed: int = sum(libbpf.prog_info(program).recursion_misses for program in self.programs)
        if self._profile is not None:
            missed += kprobes.missed(_read_all(self._profile), self._events)
        return missed

    def _read_unattributed(self, sample: Sample) -> None:
        for index, protocol in enumerate(_UNATTRIBUTED_PROTOCOLS):
            value = libbpf.map_lookup(
                self._maps["bwtop_unattributed"],
                index.to_bytes(4, "little"),
                records.FLOW_VALUE.size,
            )
            assert value is not None, "an array has all its entries"
            remote = Remote(protocol, Role.CLIENT, 0, UNKNOWN_ADDRESS)
            total = Traffic(*records.FLOW_VALUE.unpack(value))
            self._add_growth(sample, UNATTRIBUTED, remote, total)

    def _add_growth(
        self, sample: Sample, process: ProcessKey, remote: Remote, total: Traffic
    ) -> None:
        """Add the growth since the previous reading, for maps that only grow."""
        known = self._grown.setdefault(process, {})
        growth = total.minus(known.get(remote, Traffic()))
        known[remote] = total
        if growth != Traffic():
            add_traffic(sample.traffic, process, remote, growth)

    def _identity(self, process: ProcessKey) -> Identity:
        if process == UNATTRIBUTED:
            return UNATTRIBUTED_IDENTITY
        known = self._identities.get(process)
        if known is None:
            started = records.start_time(process, self._boot)
            known = self._read_identity(process, started)
            if known is None:  # the kernel side takes its record with its next new flow
                self.counters.retire(process)
                return replace(UNKNOWN_IDENTITY, started=started)
            self._identities[process] = known
        return known

    def _read_identity(self, process: ProcessKey, started: datetime) -> Identity | None:
        """Return what the kernel side has of a process, waiting for a record that is being written."""
        for _ in range(_PATIENCE):
            key = records.PROCESS_KEY.pack(*process)
            record = libbpf.map_lookup(self._maps["bwtop_processes"], key, records.PROCESS.size)
            if record is None:
                return None
            if identity := records.identity(record, started):
                return identity
            time.sleep(0.001)
        return None

    def _forget(self, exits: set[ProcessKey], moving: Collection[ProcessKey]) -> None:
        """Free the records of exited processes: in the kernel, and here once they move no more.

        A process may do that for some seconds after its end was reported, as CIFS does when it closes files.
        """
        self._exited |= exits
        for process in self._exited.difference(moving):
            self._exited.discard(process)
            self._identities.pop(process, None)
        for process in exits:
            libbpf.map_delete(self._maps["bwtop_processes"], records.PROCESS_KEY.pack(*process))
            for remote in self._grown.pop(process, {}):
                key = records.FLOW_KEY.pack(*process, *remote)
                libbpf.map_delete(self._maps["bwtop_spill"], key)
