"""Following live what all hosts send: their intervals as readings, as long after they were measured as they take to come.

Hosts send every ten seconds, each at moments of its own.  So each is told a fixed time late, second by second, as if it
were measured here; who sends later than that is told later, never twice as much in a second.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bwtop.fleet.client import FleetError, Server
from bwtop.fleet.spans import LAST, of_hosts, of_plans, within
from bwtop.history.plan import Bounds, Piece
from bwtop.model.filter import Filter
from bwtop.model.flows import (
    LOOPBACK_V4,
    LOOPBACK_V6,
    UNKNOWN_ADDRESS,
    Host,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    Traffic,
    nowhere,
)
from bwtop.model.sample import FlowTraffic, Sample, add_traffic
from bwtop.text import count, printable

STEP: Final = 15.0
"""Seconds: how late hosts are told, as a multiple of it.  A batch and what it takes to come fit in."""

REACH: Final = 120.0
"""Seconds: who has sent nothing so new is not live, and is told from anew when it sends again."""

SLACK: Final = 1.0
"""Seconds by which clocks and the times of questions may differ."""

QUIET: Final = 120.0
"""Seconds after which a process that moves nothing is taken off the list: hosts do not send when one ends."""

MOST: Final = 10_000
"""Flows of a reading told by remote, the largest first; of the others it is '*'."""

_LISTED: Final = 3
"""Late hosts that are named."""

_KIND: Final = "if(loopback = 0, '', if(substring(hex(address), 1, 24) = '00000000000000000000FFFF', '4', '6'))"
"""In SQL: which of the remotes that stand for many."""

_MANY: Final = {"": UNKNOWN_ADDRESS, "4": LOOPBACK_V4, "6": LOOPBACK_V6}

_WHO: Final = ("pid", "name", "exe", "uid", "user", "unit", "container", "pod", "kernel")


@dataclass(slots=True)
class _Place:
    """How far a host has been told."""

    delay: float
    """Seconds from its clock to what is told of it."""
    told: float
    """All that began before, in UTC seconds of its clock."""


class Playback:
    """Which stretch of each host's time is to be told next."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def windows(self, now: float, passed: float, arrived: Mapping[str, float]) -> dict[str, Bounds]:
        """Of each host of which the end of what has come is in `arrived`; `passed` seconds after those before.

        A window has no more than what has passed, and nothing that is yet to come; it may be empty.
        """
        self._places = {host: self._place(host, now, passed, arrived[host]) for host in arrived}
        found = {}
        for host, place in self._places.items():
            end = max(place.told, now - place.delay)
            found[host] = (place.told, end)
        return found

    def _place(self, host: str, now: float, passed: float, last: float) -> _Place:
        late = STEP * (math.floor((now - last) / STEP) + 1)
        place = self._places.get(host)
        if place is not None:
            place.delay = max(place.delay, late)
            ahead = now - place.delay - place.told - passed
            if ahead > SLACK:  # questions failed meanwhile, or a clock was set
                place.delay += STEP * math.ceil(ahead / STEP)
        if place is None or place.delay > max(late, REACH):
            return _Place(late, now - late)
        return place

    def move(self, windows: Mapping[str, Bounds]) -> None:
        """They have been told."""
        for host, (_, end) in windows.items():
            self._places[host].told = end

    def late(self) -> dict[str, float]:
        """Hosts that are told later than others, and by how many seconds in all."""
        return {host: place.delay for host, place in self._places.items() if place.delay > STEP}


@dataclass(slots=True)
class _Known:
    """A process as long as it moves bytes."""

    key: ProcessKey
    moved: float = 0.0
    """When it last did, by the monotonic clock."""


class FleetFollower:
    """Reads a server that hosts write; what was there before is history, and not told."""

    def __init__(
        self,
        server: Server,
        keep: Filter,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks for what there is, of the hosts that a filter names; raises FleetError."""
        self._server = server
        self._keep = keep
        self._clock, self._monotonic = clock, monotonic
        self._playback = Playback()
        self._processes: dict[tuple[str, int, int], _Known] = {}
        self._numbers = 0
        self._fault = ""
        self.hosts: dict[str, Host] = {}
        """By id: those that are live."""
        self._read_at = monotonic()
        self._ask_windows(0.0)

    def close(self) -> None:
        """Lets go of the server."""
        self._server.close()

    def state(self) -> tuple[str, str]:
        """How it goes, and what somebody should know about it."""
        words = f"{count(len(self.hosts), 'host')}, {STEP:.0f} s late"
        if self._fault:
            return words, self._fault
        if not self.hosts:
            return words, f"no host has sent anything for {REACH:.0f} s"
        return words, self._late()

    def _late(self) -> str:
        late = sorted(self._playback.late().items(), key=lambda item: (-item[1], item[0]))
        named = [
            f"{self.hosts[host].name} ({delay:.0f} s)"
            for host, delay in late[:_LISTED]
            if host in self.hosts
        ]
        more = [f"{len(late) - _LISTED} more"] if len(late) > _LISTED else []
        return printable(f"late: {', '.join(named + more)}") if named else ""

    def read(self) -> Sample:
        """What is to be told since the reading before; nothing while the server cannot be asked."""
        moment = self._monotonic()
        passed, self._read_at = moment - self._read_at, moment
        sample = Sample(datetime.fromtimestamp(self._clock() - STEP, UTC), passed)
        try:
            windows = self._ask_windows(passed)
            self._fill(sample, windows)
        except FleetError as error:
            self._fault = str(error)
            return Sample(sample.time, passed)
        self._fault = ""
        self._playback.move(windows)
        self._let_go(sample)
        return sample

    def _ask_windows(self, passed: float) -> dict[str, Bounds]:
        now = self._clock()
        found = self._server.query(
            "SELECT toString(host_id), argMax(host, time), max(end) FROM span"
            f" WHERE level = 0 AND {within(now - REACH, LAST)} GROUP BY host_id"
        )
        hosts = {id_: Host(name, id_) for id_, name, _ in found}
        self.hosts = {id_: host for id_, host in hosts.items() if self._keep.takes_host(host)}
        arrived = {id_: last for id_, _, last in found if id_ in self.hosts}
        return self._playback.windows(now, passed, arrived)

    def _fill(self, sample: Sample, windows: Mapping[str, Bounds]) -> None:
        """Asks for what began within the windows."""
        where = of_plans({host: _pieces(window) for host, window in windows.items()})
        if self._keep.hosts and windows:
            where += f" AND {of_hosts(windows)}"
        sums = ", ".join(f"sum({name})" for name in Loss._fields)
        for host, *loss in self._server.query(
            f"SELECT toString(host_id), {sums} FROM span FINAL WHERE {where} GROUP BY host_id"
        ):
            if host in windows:
                sample.loss = sample.loss.plus(Loss(*loss))
        left = self._sums(sample, windows, where)
        for key, remote, traffic in self._flows(where):
            if key in left:
                add_traffic(sample.traffic, key, remote, traffic)
                of = nowhere(remote)
                left[key][of] = left[key][of].minus(traffic)
        for key, remotes in left.items():
            for remote, traffic in remotes.items():
                if any(traffic):
                    add_traffic(sample.traffic, key, remote, traffic)

    def _sums(self, sample: Sample, windows: Mapping[str, Bounds], where: str) -> FlowTraffic:
        """What each process moved, by the remotes that stand for many; notes who they are."""
        found: FlowTraffic = {}
        for host, spool, process, protocol, role, kind, *who, rx, tx in self._server.query(
            f"SELECT toString(host_id), spool, process, protocol, role, {_KIND} AS kind,"
            f" {', '.join(_WHO)}, sum(rx), sum(tx) FROM traffic FINAL WHERE {where}"
            f" GROUP BY host_id, spool, process, protocol, role, kind, {', '.join(_WHO)}"
        ):
            if host in windows:  # else it has come since they were asked for
                key = self._key((host, spool, process), who[0])
                sample.identities[key] = _identity(self.hosts[host], *who[1:])
                remote = Remote(protocol, role, 0, _MANY[kind])
                add_traffic(found, key, remote, Traffic(rx, tx))
        return found

    def _flows(self, where: str) -> Iterator[tuple[ProcessKey, Remote, Traffic]]:
        """The largest, as far as their processes are known."""
        for host, spool, process, protocol, role, port, address, rx, tx in self._server.query(
            "SELECT toString(host_id), spool, process, protocol, role, port, hex(address) AS remote,"
            f" sum(rx) AS received, sum(tx) AS sent FROM traffic FINAL WHERE {where}"
            " GROUP BY host_id, spool, process, protocol, role, port, remote"
            f" ORDER BY received + sent DESC LIMIT {MOST}"
        ):
            known = self._processes.get((host, spool, process))
            if known:
                remote = Remote(protocol, role, port, bytes.fromhex(address))
                yield known.key, remote, Traffic(rx, tx)

    def _key(self, process: tuple[str, int, int], pid: int) -> ProcessKey:
        """Hosts do not send when a process began: a number stands for it."""
        known = self._processes.get(process)
        if known is None:
            self._numbers += 1
            known = self._processes[process] = _Known(ProcessKey(self._numbers, pid))
        known.moved = self._read_at
        return known.key

    def _let_go(self, sample: Sample) -> None:
        """Of processes that have been quiet for long."""
        for process, known in list(self._processes.items()):
            if self._read_at - known.moved > QUIET:
                del self._processes[process]
                sample.exited.add(known.key)


def _pieces(window: Bounds) -> tuple[Piece, ...]:
    start, end = window
    return (Piece(0, start, end),) if start < end else ()


def _identity(host: Host, *who: Any) -> Identity:
    name, exe, uid, user, unit, container, pod, kernel = who
    return Identity(
        name,
        None if uid < 0 else uid,
        exe=exe or None,
        kernel=bool(kernel),
        user=user or None,
        unit=unit or None,
        container=container or None,
        pod=pod or None,
        host=host,
    )
