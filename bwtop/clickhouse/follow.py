"""Follow live what all hosts send: return their intervals as samples, some seconds late.

Hosts send every ten seconds, at different moments.  So the follower plays back each host second by second with a fixed
delay.  A host that sends later gets a longer delay.  Once it is in time again, the intervals in between are returned as
late, without a duration: they count in all totals and in no rate.
"""

import math
import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bwtop.clickhouse.client import FleetError, FleetServer
from bwtop.clickhouse.clocks import spelled, wrong_clocks
from bwtop.clickhouse.homes import settle
from bwtop.clickhouse.named import AT_ONCE, ChangedNames, seen_names
from bwtop.clickhouse.peers import peers_of
from bwtop.clickhouse.playback import REACH, STEP, Playback, Windows
from bwtop.clickhouse.spans import LAST, SOUND, of_hosts, of_plans, within
from bwtop.history.names import SeenNames
from bwtop.history.plan import Bounds, Piece
from bwtop.history.recent import RecentNames
from bwtop.model.filter import Filter
from bwtop.model.flows import (
    LOOPBACK_V4,
    LOOPBACK_V6,
    RECORDED_LOSSES,
    UNKNOWN_ADDRESS,
    Host,
    Loss,
    ProcessKey,
    Remote,
    Traffic,
    nowhere,
    stored_identity,
    stored_remote,
    told_apart,
)
from bwtop.model.sample import FlowTraffic, Sample, add_traffic
from bwtop.text.escape import count, printable

FORGOTTEN: Final = 3600.0
"""Seconds for which a silent host is reported."""

QUIET: Final = 120.0
"""Seconds after which an idle process counts as exited: hosts do not send exits."""

MOST: Final = 10_000
"""Flows of a sample that keep their remote, the largest first; the rest show as '*'."""

SHARE: Final = 0.25
"""Largest share of the time spent on queries: where answers take long, intervals are longer."""

MOST_KNOWN: Final = 50_000
"""Largest number of processes; beyond it the longest idle ones count as exited."""

ADDRESSES: Final = 60.0
"""Seconds between two queries of the addresses of the hosts."""

_LISTED: Final = 3
"""Largest number of hosts named in a message."""

_KIND: Final = "if(loopback = 0, '', if(substring(hex(address), 1, 24) = '00000000000000000000FFFF', '4', '6'))"
"""SQL expression: which of the placeholder remotes in _MANY an address belongs to."""

_MANY: Final = {"": UNKNOWN_ADDRESS, "4": LOOPBACK_V4, "6": LOOPBACK_V6}

WHO: Final = ("pid", "name", "exe", "uid", "user", "unit", "container", "pod", "kernel")
"""Columns that identify a process."""


@dataclass(slots=True)
class _KnownProcess:
    """A process that has moved bytes recently."""

    key: ProcessKey
    moved: float = 0.0
    """Time of its last bytes, by the monotonic clock."""


_ProcessId = tuple[str, int, int]
"""(host id, database id, process id in that database)."""


class FleetFollower:
    """Reader of a server that hosts ship to; it skips the intervals from before it started."""

    def __init__(
        self,
        server: FleetServer,
        keep: Filter,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        names: bool = True,
    ) -> None:
        """Query the live hosts that pass a filter; raise FleetError.

        names: False for samples without names of remotes.
        """
        self._server = server
        self._is_named = names
        self._keep = keep.only("host")
        self._clock, self._monotonic = clock, monotonic
        self._playback = Playback()
        self._processes: dict[_ProcessId, _KnownProcess] = {}
        self._numbers = 0
        self._fault = ""
        self.hosts: dict[str, Host] = {}
        """Live hosts by id."""
        self._others: list[Host] = []
        """Live hosts that do not pass the filter."""
        self._clocks: dict[str, float] = {}
        """Seconds by which wrong clocks are ahead, by host id."""
        self._ahead: dict[str, float] = {}
        """Hosts that have later intervals than their newest one, with the end of that, by host id."""
        self._former: dict[tuple[str, int], int] = {}
        """The last interval from before a clock was set back, by host id and database id."""
        self._gone: dict[Host, float] = {}
        """Silent hosts, with the time of their last data in UTC seconds of the local clock."""
        self._peers: dict[bytes, Host] = {}
        self._peers_asked = -math.inf
        changed = ChangedNames(server, monotonic)
        self._names = RecentNames(self._names_of, changed.addresses, AT_ONCE, monotonic)
        self._read_at = monotonic()
        self._next = self._read_at
        self._ask_windows(0.0)

    def close(self) -> None:
        """Close the connection to the server."""
        self._server.close()

    def peers(self) -> Mapping[bytes, Host]:
        """Return the hosts by their own packed addresses; callable from any thread."""
        return self._peers

    def state(self) -> tuple[str, str]:
        """Return the state in a few words, and a warning or an empty text."""
        words = f"{count(len(self.hosts), 'host')}, {STEP:.0f} s late"
        if self._fault:
            return words, f"{self._fault}; showing old data"
        if not self.hosts:
            return words, self._no_hosts()
        warnings = [text for text in (self._late(), self._silent(), self._wrong()) if text]
        return words, printable("; ".join(warnings))

    def _no_hosts(self) -> str:
        if not self._others:
            return f"no host has sent data for {REACH:.0f} s"
        names = _listed(sorted(host.label for host in self._others))
        return printable(f"no host of that name sends data; live hosts: {names}")

    def _late(self) -> str:
        hosts = self.hosts  # another thread reads
        late = {
            hosts[id_]: s for id_, s in self._playback.late(self._clocks).items() if id_ in hosts
        }
        if len(late) == len(hosts) > 1:
            return f"late: all hosts (up to {max(late.values()):.0f} s)"
        ordered = sorted(late.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{host.label} ({seconds:.0f} s)" for host, seconds in ordered]
        return f"late: {_listed(named)}" if named else ""

    def _wrong(self) -> str:
        """Return a warning of the live hosts whose clocks are wrong."""
        hosts = self.hosts
        wrong = sorted((hosts[id_], s) for id_, s in self._clocks.items() if id_ in hosts)
        named = [f"{host.label} ({spelled(seconds)})" for host, seconds in wrong]
        return f"clock wrong: {_listed(named)}" if named else ""

    def _silent(self) -> str:
        """Return a warning of the hosts that have stopped sending."""
        if not self._gone:
            return ""
        gone = sorted(self._gone.items(), key=lambda item: -item[1])
        return "silent: " + _listed(
            [
                f"{host.label} (since {time.strftime('%H:%M', time.localtime(at))})"
                for host, at in gone
            ]
        )

    def read(self) -> Sample:
        """Return the sample since the previous call; an empty one of no duration while the next query is not due."""
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
            )  # of the windows: the rest has not arrived yet
            if any(start < end for start, end in windows.late.values()):
                sample.late = Sample(sample.time, 0.0)
                self._fill(sample.late, windows.late)
            self._ask_former()
            self._fill(sample, windows.due)
            for one in filter(None, (sample.late, sample) if self._is_named else ()):
                self._names.add(one, sample.time.timestamp())
        except FleetError as error:
            self._fault = str(error)
            return Sample(sample.time, 0.0)
        self._fault, self._read_at = "", moment
        self._next = moment + (self._monotonic() - moment) / SHARE
        self._playback.move(windows)
        self._forget_idle(sample)
        return sample

    def _ask_windows(self, passed: float) -> Windows:
        now = self._clock()
        self._clocks = wrong_clocks(self._server)
        found = self._server.query(
            "SELECT toString(host_id), argMax(name, last), max(last), max(furthest) FROM"
            " (SELECT host_id, argMax(host, span_id) AS name, argMax(end, span_id) AS last, max(end) AS furthest"
            f" FROM span WHERE {self._recent(now)} AND {SOUND} GROUP BY host_id, spool"
            f" HAVING max(received) >= now() - {REACH:.0f}) GROUP BY host_id"
        )
        self._ahead = {id_: last for id_, _, last, furthest in found if furthest > last}
        live = told_apart(Host(name, id_) for id_, name, *_ in found)
        hosts = {host: last for host, (_, _, last, _) in zip(live, found, strict=True)}
        arrived = {host: last for host, last in hosts.items() if self._keep.takes_host(host)}
        self._others = [host for host in hosts if host not in arrived]
        self._note_gone(now, {host.id for host in arrived})
        if not self.hosts.keys() >= {host.id for host in arrived}:
            settle(self._server)
        self.hosts = {host.id: host for host in arrived}
        self._ask_peers({host.id: host for host in hosts})
        return self._playback.windows(
            now, passed, {host.id: last for host, last in arrived.items()}
        )

    def _names_of(self, addresses: Collection[bytes]) -> SeenNames:
        """Ask for the recorded names of some addresses; those of hosts have the names of these."""
        others = [address for address in addresses if address not in self._peers]
        return seen_names(self._server, others, math.inf, self.hosts)

    def _ask_peers(self, hosts: Mapping[str, Host]) -> None:
        """Ask for the addresses of the hosts, as seldom as they report them."""
        moment = self._monotonic()
        if moment - self._peers_asked >= ADDRESSES:
            self._peers = peers_of(self._server, hosts)
            self._peers_asked = moment

    def _recent(self, now: float) -> str:
        """Return the SQL condition: the intervals of live hosts, by their own clocks.

        One whose clock was ahead has rows of the future after it died; the server knows when it received them.
        """
        times = within(now - REACH, LAST)
        behind = {host: ahead for host, ahead in self._clocks.items() if ahead < 0}
        if behind:
            since = within(now - REACH + min(behind.values()), LAST)
            times = f"({times} OR ({of_hosts(behind)} AND {since}))"
        return f"level = 0 AND {times}"

    def _ask_former(self) -> None:
        """Ask for the intervals that are later than the newest one: they are from before a clock was set back.

        A clock comes to their times again, so a host that begins to be played is asked about; ids only grow.
        """
        self._former = {key: last for key, last in self._former.items() if key[0] in self.hosts}
        begun = [host for host in self._playback.begun if host in self._ahead]
        if begun:
            later = {host: (Piece(0, self._ahead[host], float(LAST)),) for host in begun}
            for host, spool, last in self._server.query(
                "SELECT toString(host_id), spool, max(span_id) FROM span"
                f" WHERE {of_plans(later)} AND {of_hosts(begun)} GROUP BY host_id, spool"
            ):
                self._former[host, spool] = last

    def _newer(self, windows: Mapping[str, Bounds]) -> str:
        """Return the SQL condition: no intervals from before a clock was set back."""
        return "".join(
            f" AND NOT ({of_hosts([host])} AND spool = {spool} AND span_id <= {last})"
            for (host, spool), last in self._former.items()
            if host in windows
        )

    def _note_gone(self, now: float, here: Container[str]) -> None:
        """Update the silent hosts; one that sends again is removed, even under a new name."""
        self._gone |= {host: now - REACH for id_, host in self.hosts.items() if id_ not in here}
        self._gone = {
            host: at
            for host, at in self._gone.items()
            if host.id not in here and now - at < FORGOTTEN
        }

    def _fill(self, sample: Sample, windows: Mapping[str, Bounds]) -> None:
        """Query the intervals that began within the windows."""
        where = of_plans({host: _pieces(window) for host, window in windows.items()})
        if self._keep.terms and windows:
            where += f" AND {of_hosts(windows)}"
        where += self._newer(windows)
        sums = ", ".join(f"sum({name})" for name in RECORDED_LOSSES)
        for host, *loss in self._server.query(
            f"SELECT toString(host_id), {sums} FROM span FINAL WHERE {where} GROUP BY host_id"
        ):
            if host in windows:
                sample.loss = sample.loss.plus(Loss(*loss))
        flows = self._flows(
            where
        )  # first: rows that arrive between the two queries are in the totals
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
        """Return the bytes of each process by placeholder remote; store the identities in the sample."""
        found: FlowTraffic = {}
        for host, spool, process, protocol, role, kind, *who, rx, tx in self._server.query(
            f"SELECT toString(host_id), spool, process, protocol, role, {_KIND} AS kind,"
            f" {', '.join(WHO)}, sum(rx), sum(tx) FROM traffic FINAL WHERE {where}"
            f" GROUP BY host_id, spool, process, protocol, role, kind, {', '.join(WHO)}"
        ):
            if host in windows:  # else it appeared after the query of the hosts
                key = self._key((host, spool, process), who[0])
                known = dict(zip(WHO, who, strict=True))
                sample.identities[key] = stored_identity(known, host=self.hosts[host])
                remote = stored_remote(protocol, role, 0, _MANY[kind])
                add_traffic(found, key, remote, Traffic(rx, tx))
        return found

    def _flows(self, where: str) -> list[tuple["_ProcessId", Remote, Traffic]]:
        """Return the largest flows, at most MOST."""
        return [
            (
                (host, spool, process),
                stored_remote(protocol, role, port, bytes.fromhex(address)),
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
        """Return the key of a process; a number replaces its start time, which hosts do not send.

        Keep the processes in the order of their last bytes.
        """
        known = self._processes.pop(process, None)
        if known is None:
            self._numbers += 1
            known = _KnownProcess(ProcessKey.stored(self._numbers, pid))
        known.moved = self._read_at
        self._processes[process] = known
        return known.key

    def _forget_idle(self, sample: Sample) -> None:
        """Remove idle processes, or the longest idle ones where there are too many."""
        while self._processes:
            process, known = next(iter(self._processes.items()))
            is_quiet = self._read_at - known.moved > QUIET
            if known.key in sample.traffic or not (is_quiet or len(self._processes) > MOST_KNOWN):
                break
            del self._processes[process]
            sample.exited.add(known.key)


def _listed(names: Sequence[str]) -> str:
    """Join the first names, with the number of the others."""
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def _pieces(window: Bounds) -> tuple[Piece, ...]:
    start, end = window
    return (Piece(0, start, end),) if start < end else ()
