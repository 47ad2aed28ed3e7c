"""Following live what all hosts send: their intervals as readings, as long after they were measured as they take to come.

Hosts send every ten seconds, each at moments of its own.  So each is told a fixed time late, second by second, as if it
were measured here.  Who sends later than that is told later; and once it comes in time again, what lies between is told
without a time, so that it is in all totals and in no rate.
"""

import math
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bwtop.clickhouse.client import FleetError, Server
from bwtop.clickhouse.spans import LAST, of_hosts, of_plans, within
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
from bwtop.text.escape import count, printable

STEP: Final = 15.0
"""Seconds: how late hosts are told, as a multiple of it.  A batch and what it takes to come fit in."""

REACH: Final = 120.0
"""Seconds: who has sent nothing so new is not live, and is told from anew when it sends again."""

SLACK: Final = 1.0
"""Seconds by which clocks and the times of questions may differ."""

RECOVERED: Final = 30.0
"""Seconds, some batches long, after which a host that comes in time again is told as before."""

FORGOTTEN: Final = 3600.0
"""Seconds for which a host is missed that sends nothing."""

QUIET: Final = 120.0
"""Seconds after which a process that moves nothing is taken off the list: hosts do not send when one ends."""

MOST: Final = 10_000
"""Flows of a reading told by remote, the largest first; of the others it is '*'."""

SHARE: Final = 0.25
"""Of the time that may go by with asking: where answers take long, intervals are longer."""

MOST_KNOWN: Final = 50_000
"""Processes known at once; beyond it those that have been quiet longest are taken off early."""

_LISTED: Final = 3
"""Hosts that are named in a message."""

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
    since: float
    """From when on it has been in time for less of a delay."""
    enough: float = -math.inf
    """The longest delay that was needed since then."""
    seen: float = 0.0
    """When it was there last; as the one before, in UTC seconds of this machine's clock."""


@dataclass(frozen=True)
class Windows:
    """Stretches of time by host, that may be empty; those of a host follow each other."""

    late: dict[str, Bounds]
    """What should have been told before."""
    due: dict[str, Bounds]
    """As long as the time that has passed, or shorter."""


class Playback:
    """Which stretch of each host's time is to be told next."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def windows(self, now: float, passed: float, arrived: Mapping[str, float]) -> Windows:
        """Of each host of which the end of what has come is in `arrived`; `passed` seconds after those before."""
        for host, last in arrived.items():
            place = self._places[host] = self._place(host, now, last)
            place.seen = now
        self._places = {h: p for h, p in self._places.items() if abs(now - p.seen) <= REACH}
        found = Windows({}, {})
        for host in arrived:
            place = self._places[host]
            end = max(place.told, now - place.delay)
            is_in_time = end - place.told <= passed + min(SLACK, passed / 2)
            start = place.told if is_in_time else end - passed
            found.late[host], found.due[host] = (place.told, start), (start, end)
        return found

    def _place(self, host: str, now: float, last: float) -> _Place:
        """Its delay is long enough for what comes, and no longer than it was of late."""
        needed = STEP * (math.floor((now - last) / STEP) + 1)
        place = self._places.get(host)
        is_anew = place is None or now - needed - place.told > REACH
        if place is None or is_anew or place.told > last:  # its clock was set back
            return _Place(needed, now - needed, now)
        if needed >= place.delay:
            place.delay, place.since, place.enough = needed, now, -math.inf
        else:
            place.enough = max(place.enough, needed)
        if not 0 <= now - place.since <= RECOVERED:
            place.delay, place.since, place.enough = place.enough, now, needed
        return place

    def move(self, windows: Windows) -> None:
        """They have been told."""
        for host, (_, end) in windows.due.items():
            self._places[host].told = end

    def late(self) -> dict[str, float]:
        """Hosts that are told later than others, and by how many seconds in all."""
        return {
            host: place.delay for host, place in list(self._places.items()) if place.delay > STEP
        }


@dataclass(slots=True)
class _Known:
    """A process as long as it moves bytes."""

    key: ProcessKey
    moved: float = 0.0
    """When it last did, by the monotonic clock."""


_ProcessId = tuple[str, int, int]
"""Of a host, of a database of it, in that."""


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
        self._processes: dict[_ProcessId, _Known] = {}
        self._numbers = 0
        self._fault = ""
        self.hosts: dict[str, Host] = {}
        """By id: those that are live."""
        self._others: list[Host] = []
        """That are live, and were not asked for."""
        self._gone: dict[Host, float] = {}
        """That were live, and since when they are not, in UTC seconds of this machine's clock."""
        self._read_at = monotonic()
        self._next = self._read_at
        self._ask_windows(0.0)

    def close(self) -> None:
        """Lets go of the server."""
        self._server.close()

    def state(self) -> tuple[str, str]:
        """How it goes, and what somebody should know about it."""
        words = f"{count(len(self.hosts), 'host')}, {STEP:.0f} s late"
        if self._fault:
            return words, f"{self._fault}; showing old data"
        if not self.hosts:
            return words, self._nobody()
        warnings = [text for text in (self._late(), self._silent()) if text]
        return words, printable("; ".join(warnings))

    def _nobody(self) -> str:
        if not self._others:
            return f"no host has sent data for {REACH:.0f} s"
        names = _listed(sorted(host.name for host in self._others))
        return printable(f"no host of that name sends data; live hosts: {names}")

    def _late(self) -> str:
        hosts = self.hosts  # another thread reads
        late = {hosts[id_]: s for id_, s in self._playback.late().items() if id_ in hosts}
        if len(late) == len(hosts) > 1:
            return f"late: all hosts (up to {max(late.values()):.0f} s)"
        ordered = sorted(late.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{host.name} ({seconds:.0f} s)" for host, seconds in ordered]
        return f"late: {_listed(named)}" if named else ""

    def _silent(self) -> str:
        """Those that have sent since it was begun, and do not any more."""
        if not self._gone:
            return ""
        gone = sorted(self._gone.items(), key=lambda item: -item[1])
        return "silent: " + _listed(
            [
                f"{host.name} (since {time.strftime('%H:%M', time.localtime(at))})"
                for host, at in gone
            ]
        )

    def read(self) -> Sample:
        """What is to be told since the reading before; nothing, of no length, while the server is not to be asked."""
        moment = self._monotonic()
        passed = moment - self._read_at
        if moment < self._next:
            return Sample(datetime.fromtimestamp(self._clock() - STEP, UTC), 0.0)
        sample = Sample(datetime.fromtimestamp(self._clock() - STEP, UTC), passed)
        try:
            windows = self._ask_windows(passed)
            lengths = [end - start for start, end in windows.due.values()]
            sample.elapsed = max(
                lengths, default=passed
            )  # of what is told: the rest is yet to come
            self._fill(sample, windows.due)
            if any(start < end for start, end in windows.late.values()):
                sample.late = Sample(sample.time, 0.0)
                self._fill(sample.late, windows.late)
        except FleetError as error:
            self._fault = str(error)
            return Sample(sample.time, 0.0)
        self._fault, self._read_at = "", moment
        self._next = moment + (self._monotonic() - moment) / SHARE
        self._playback.move(windows)
        self._let_go(sample)
        return sample

    def _ask_windows(self, passed: float) -> Windows:
        now = self._clock()
        found = {
            Host(name, id_): last
            for id_, name, last in self._server.query(
                "SELECT toString(host_id), argMax(name, last), max(last) FROM"
                " (SELECT host_id, argMax(host, span_id) AS name, argMax(end, span_id) AS last FROM span"
                f" WHERE level = 0 AND {within(now - REACH, LAST)} GROUP BY host_id, spool)"
                " GROUP BY host_id"
            )
        }
        arrived = {host: last for host, last in found.items() if self._keep.takes_host(host)}
        self._others = [host for host in found if host not in arrived]
        self._note_gone(now, {host.id for host in arrived})
        self.hosts = {host.id: host for host in arrived}
        return self._playback.windows(
            now, passed, {host.id: last for host, last in arrived.items()}
        )

    def _note_gone(self, now: float, here: Container[str]) -> None:
        """A host that has come back is not gone, whatever its name is now."""
        self._gone |= {host: now - REACH for id_, host in self.hosts.items() if id_ not in here}
        self._gone = {
            host: at
            for host, at in self._gone.items()
            if host.id not in here and now - at < FORGOTTEN
        }

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
        flows = self._flows(where)  # first: what comes between two questions is in the sums
        left = self._sums(sample, windows, where)
        for process, remote, traffic in flows:
            known = self._processes.get(process)
            of = nowhere(remote)
            rest = left.get(known.key, {}).get(of) if known else None
            if known and rest and traffic.rx <= rest.rx and traffic.tx <= rest.tx:
                add_traffic(sample.traffic, known.key, remote, traffic)
                left[known.key][of] = rest.minus(traffic)
        for key, remotes in left.items():
            for remote, rest in remotes.items():
                if any(rest):
                    add_traffic(sample.traffic, key, remote, rest)

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

    def _flows(self, where: str) -> list[tuple["_ProcessId", Remote, Traffic]]:
        """The largest."""
        return [
            (
                (host, spool, process),
                Remote(protocol, role, port, bytes.fromhex(address)),
                Traffic(rx, tx),
            )
            for host, spool, process, protocol, role, port, address, rx, tx in self._server.query(
                "SELECT toString(host_id), spool, process, protocol, role, port,"
                " hex(address) AS remote, sum(rx) AS received, sum(tx) AS sent"
                f" FROM traffic FINAL WHERE {where}"
                " GROUP BY host_id, spool, process, protocol, role, port, remote"
                f" ORDER BY received + sent DESC LIMIT {MOST}"
            )
        ]

    def _key(self, process: "_ProcessId", pid: int) -> ProcessKey:
        """Hosts do not send when a process began: a number stands for it.  Those that moved last are last."""
        known = self._processes.pop(process, None)
        if known is None:
            self._numbers += 1
            known = _Known(ProcessKey(self._numbers, pid))
        known.moved = self._read_at
        self._processes[process] = known
        return known.key

    def _let_go(self, sample: Sample) -> None:
        """Of processes that have been quiet for long, or of some earlier where there are too many."""
        while self._processes:
            process, known = next(iter(self._processes.items()))
            is_quiet = self._read_at - known.moved > QUIET
            if known.key in sample.traffic or not (is_quiet or len(self._processes) > MOST_KNOWN):
                break
            del self._processes[process]
            sample.exited.add(known.key)


def _listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


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
