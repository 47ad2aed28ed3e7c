"""The history of many hosts in ClickHouse: see history.store.HistoryStore.

Each level has the rows that the hosts have sent.  A range is planned for each host by itself: one may lag, another may
be in another time zone.  Most hosts have the same plan.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.follow import WHO
from bwtop.clickhouse.spans import ROUNDING, FleetSpans, of_hosts, of_plans, since, within
from bwtop.history import plan
from bwtop.history.boundaries import Span
from bwtop.history.calendar import DAY, FIVE_MINUTES, MINUTE, Unit
from bwtop.history.dimensions import ENDS
from bwtop.history.plan import Bounds, Plan
from bwtop.history.store import Amounts, Ends, Flow, FlowSums, Largest, Measured, Order, sql_of_pids
from bwtop.history.tiers import DAYS
from bwtop.history.usage import FiveMinutes, Usage, rank
from bwtop.model.filter import Filter
from bwtop.model.flows import (
    LOOPBACK_V4,
    UNKNOWN_ADDRESS,
    Host,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    stored_identity,
)
from bwtop.model.ledger import Category, category
from bwtop.model.rates import rate
from bwtop.model.series import Rates, peak
from bwtop.sqlite.schema import pulse_column

_KEYS: Final = {"host": "host_id"}
"""Columns to group by, where they differ from the property's name."""

_REACHES: Final = (2.0 * MINUTE, 2.0 * DAY, 40.0 * DAY, 40_000.0 * DAY)
"""Seconds within which the span beside a time is looked for, one after the other."""

_READ: Final = {"host": "toString(host_id)", "address": "hex(address)"}
"""SQL to read a property, where it differs from its name."""


class FleetReader:
    """The history on a server; the spans are queried once, so that an answer is of one moment."""

    ranks_remotes = False

    def __init__(self, server: FleetServer) -> None:
        self._server = server
        self._hosts: tuple[str, ...] | None = None
        self._is_one = True
        self._spans: dict[tuple[str, ...] | None, FleetSpans] = {}

    def close(self) -> None:
        """See HistoryStore."""
        self._server.close()

    def _ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        return self._server.query(statement)

    def hosts(self) -> list[Host]:
        """See HistoryStore; sorted by name."""
        found = self._ask(
            "SELECT argMax(host, time), toString(host_id) FROM span"
            f" WHERE level >= 1 OR (level = 0 AND time >= now() - {DAY}) GROUP BY host_id"
        )
        return sorted(Host(name, id_) for name, id_ in found)

    def extent(self) -> Bounds | None:
        """See HistoryStore; the same rule as in SQLite."""
        finer = self._extent(f"level <= {DAYS}")
        months = self._extent(f"level > {DAYS}" + (f" AND end <= {finer[0]!r}" if finer else ""))
        if finer is None or months is None:
            return finer or months
        return months[0], finer[1]

    def _extent(self, condition: str) -> Bounds | None:
        ((count, start, end),) = self._ask(
            f"SELECT count(), min(start), max(end) FROM span WHERE {condition}"
        )
        return (start, end) if count else None

    def pids_since(self) -> float:
        """See HistoryStore: the end of the last minute that lacks seconds."""
        ((last,),) = self._ask(
            "SELECT max(after) FROM (SELECT max(end) AS after,"
            f" sumIf(seconds, level = 1) - sumIf(seconds, level = 0) > {ROUNDING} AS is_torn"
            f" FROM span FINAL WHERE level <= 1 GROUP BY host_id, floor(start / {MINUTE}))"
            " WHERE is_torn"
        )
        first = self._extent("level = 0")
        return max(last or 0.0, first[0] if first else 0.0)

    def select(
        self, bounds: Bounds, unit: Unit | None, needs: frozenset[str], keep: Filter
    ) -> "FleetSelection":
        """See HistoryStore."""
        hosts, of_pids = self._chosen(keep), sql_of_pids(keep)
        spans = self._spans.setdefault(hosts, FleetSpans(self._server, hosts))
        plans: dict[str, Plan] = {}
        for host in spans.hosts(*bounds) if hosts != () else ():
            only = plan.finest(*bounds) if of_pids else plan.make(spans.of(host), *bounds, unit)
            plans[host] = only
        self._hosts, self._is_one = hosts, len(plans) < 2
        return FleetSelection(
            self._server, bounds=bounds, plans=plans, needs=needs, hosts=hosts, of_pids=of_pids
        )

    def _chosen(self, keep: Filter) -> tuple[str, ...] | None:
        """Return the ids of the hosts that pass a filter; None: it has no term on hosts."""
        if not keep.only("host").terms:
            return None
        return tuple(host.id for host in self.hosts() if keep.takes_host(host))

    def first(self, level: int) -> float | None:
        """See HistoryStore."""
        found = self._extent(f"level = {level}")
        return found and found[0]

    def beside(self, level: int, when: float, *, later: bool) -> Span | None:
        """See HistoryStore; measured intervals of many hosts are taken second by second."""
        for reach in _REACHES:
            bounds = (when, when + reach) if later else (when - reach, when)
            name = "min" if later else "max"
            ((count, start, end),) = self._ask(
                f"SELECT count(), {name}(start), arg{name.title()}(end, start) FROM span"
                f" WHERE {since(level, *bounds)}"
            )
            if count and level:
                return Span(level, start, end)
            if count:
                second = math.floor(start)
                return Span(0, second, second + 1)
        return None

    def measured(self, start: float, end: float) -> Iterator[Measured]:
        """See HistoryStore; a number replaces the start time of a process, which hosts do not send."""
        hosts = {host.id: host for host in self.hosts()}
        for begun, host, spool, process, protocol, role, port, address, *who, rx, tx in self._ask(
            "SELECT start, toString(host_id), spool, process, protocol, role, port, hex(address),"
            f" {', '.join(WHO)}, rx, tx FROM traffic FINAL WHERE {since(0, start, end)}"
            " ORDER BY start"
        ):
            key = ProcessKey.stored(crc32(f"{host} {spool} {process}".encode()), who[0])
            known = dict(zip(WHO, who, strict=True))
            identity = stored_identity(known, host=hosts.get(host) or Host(host, host))
            remote = Remote(protocol, role, port, bytes.fromhex(address))
            yield begun, key, identity, remote, rx, tx

    def amounts(self, level: int, start: float, end: float) -> Iterator[Amounts]:
        """See HistoryStore; of many hosts, the most seconds that one has recorded."""
        begin = "start" if level else "floor(start)"
        found: dict[float, dict[Category, tuple[int, int]]] = {}
        for begun, protocol, loopback, rx, tx in self._ask(
            f"SELECT {begin} AS begun, protocol, loopback, sum(rx), sum(tx) FROM traffic FINAL"
            f" WHERE {since(level, start, end)} GROUP BY begun, protocol, loopback"
        ):
            address = LOOPBACK_V4 if loopback else UNKNOWN_ADDRESS
            of = category(Remote(protocol, 0, 0, address))
            before = found.setdefault(begun, {}).get(of, (0, 0))
            found[begun][of] = (before[0] + rx, before[1] + tx)
        for begun, after, seconds in self._ask(
            f"SELECT {begin} AS begun, max(end), max(seconds) FROM span FINAL"
            f" WHERE {since(level, start, end)} GROUP BY begun ORDER BY begun"
        ):
            yield Span(level, begun, after), seconds, found.get(begun, {})

    def events(self, start: float, end: float) -> Iterator[tuple[float, str, float]]:
        """See HistoryStore; of many hosts, only the events of dropped bytes."""
        of_chosen = f" AND {of_hosts(self._hosts)}" if self._hosts else ""
        for moment, kind, amount in self._ask(
            "SELECT moment, kind, amount FROM event FINAL"
            f" WHERE moment >= {start!r} AND moment < {end!r}{of_chosen}"
            " ORDER BY time, host_id, spool, event_id"
        ):
            if self._is_one or kind == "dropped":
                yield moment, kind, amount

    def five_minutes(
        self, start: float, end: float, shown: Collection[Category]
    ) -> Sequence[tuple[Any, ...]]:
        """See HistoryStore; of many hosts, their common totals and the most seconds that one has recorded."""
        amounts = ", ".join(f"sum({_amount(shown, way)})" for way in ("rx", "tx"))
        return self._ask(
            f"SELECT toUInt64(time), max(seconds), {amounts} FROM fives FINAL"
            f" WHERE {within(start, end)} GROUP BY time"
        )

    def usage(self, bounds: FiveMinutes, shown: Collection[Category]) -> Usage | None:
        """See HistoryStore."""
        found = self.five_minutes(bounds.start, bounds.end, shown)
        rates = [
            (rate(rx, seconds), rate(tx, seconds))
            for time, seconds, rx, tx in found
            if time != bounds.unfinished
        ]
        if not rates:
            return None
        seconds = sum(seconds for _, seconds, *_ in found)
        seconds += self._unsent(max(time for time, *_ in found) + FIVE_MINUTES, bounds.end)
        return Usage(peak(rates), _percentile(rates), len(rates), seconds)

    def _unsent(self, start: float, end: float) -> float:
        """Return the recorded seconds after the last five-minute total: hosts send totals when they are over."""
        recorded = self._ask(
            f"SELECT sum(seconds) FROM span FINAL WHERE {since(0, start, end)} GROUP BY host_id"
        )
        return max((seconds for (seconds,) in recorded), default=0.0)


def _amount(categories: Collection[Category], way: str) -> str:
    """Return the SQL of the bytes that some categories received or sent."""
    return " + ".join(pulse_column(of, way) for of in categories) or "0"


def _percentile(rates: Sequence[Rates]) -> Rates:
    rx, tx = (sorted(one[way] for one in rates)[rank(len(rates))] for way in (0, 1))
    return rx, tx


class FleetSelection:
    """Selection from ClickHouse (see history.store.Selection); the key of a flow is the tuple of its properties."""

    def __init__(
        self,
        server: FleetServer,
        bounds: Bounds,
        plans: Mapping[str, Plan],
        needs: frozenset[str],
        hosts: Sequence[str] | None,
        of_pids: str,
    ) -> None:
        """Make a selection; `plans` by host id, `hosts` where not all count, `of_pids` an SQL condition."""
        self._server = server
        self._users: dict[int, str] = {}
        self._needs = [name for name in ENDS if name in needs]
        of_chosen = f" AND {of_hosts(hosts)}" if hosts else ""
        self._of_pids = f" AND {of_pids}" if of_pids else ""
        self._where = of_plans({host: one.pieces for host, one in plans.items()}) + of_chosen
        self.start = min((one.start for one in plans.values()), default=bounds[0])
        self.end = max((one.end for one in plans.values()), default=bounds[1])

    def _traffic(self, columns: Sequence[str], by: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        groups = f"GROUP BY {', '.join(by)}" if by else ""
        return self._server.query(
            f"SELECT {', '.join(columns)} FROM traffic FINAL WHERE {self._where}{self._of_pids} {groups}"
        )

    def _coverage(self) -> Sequence[tuple[Any, ...]]:
        """Return (level, start, end, the most seconds that one host has recorded in it, the loss of all hosts).

        Measured intervals are added up by minute, and end at its start.
        """
        minute = f"floor(start / {MINUTE}) * {MINUTE}"
        sums = ", ".join(f"sum({name}) AS {name}" for name in Loss._fields)
        totals = ", ".join(f"sum({name})" for name in Loss._fields)
        return self._server.query(
            f"SELECT level, first, max(last), max(recorded), {totals} FROM"
            f" (SELECT host_id, level, if(level = 0, {minute}, start) AS first,"
            f" max(if(level = 0, {minute}, end)) AS last, sum(seconds) AS recorded, {sums} FROM span FINAL"
            f" WHERE {self._where} GROUP BY host_id, level, first) GROUP BY level, first"
        )

    def sums(self) -> FlowSums:
        """See Selection; a uid has a name where all hosts agree on it."""
        read = [_READ.get(name, name) for name in self._needs]
        by = [_KEYS.get(name, name) for name in self._needs]
        found: dict[Flow, tuple[int, int]] = {}
        names: dict[int, set[str]] = {}
        for *ends, first, last, rx, tx in self._traffic(
            [*read, "min(user)", "max(user)", "sum(rx)", "sum(tx)"], by
        ):
            if ends or rx or tx:
                found[tuple(ends)] = (rx, tx)
            if "uid" in self._needs:
                names.setdefault(ends[self._needs.index("uid")], set()).update((first, last))
        self._users = {
            uid: min(known) for uid, known in names.items() if len(known) == 1 and any(known)
        }
        return found

    def users(self) -> Mapping[int, str]:
        """See Selection."""
        return self._users

    def ends(self, flows: Collection[Flow]) -> Ends:
        """See Selection; properties that were not requested are unknown."""
        hosts = self._hosts() if "host" in self._needs else {}
        return {flow: self._end(flow, hosts) for flow in flows}

    def _end(self, flow: Flow, hosts: Mapping[str, Host]) -> tuple[Identity, Remote]:
        assert isinstance(flow, tuple), "a key from sums()"
        known = dict(zip(self._needs, flow, strict=True))
        who = stored_identity(known, host=hosts.get(known.get("host", "")))
        address = bytes.fromhex(known["address"]) if "address" in known else UNKNOWN_ADDRESS
        remote = Remote(
            known.get("protocol", 0), known.get("role", 0), known.get("port", 0), address
        )
        return who, remote

    def _hosts(self) -> dict[str, Host]:
        """Return the hosts by id, each with its latest name."""
        found = self._server.query(
            f"SELECT toString(host_id), argMax(host, time) FROM span WHERE {self._where} GROUP BY host_id"
        )
        return {id_: Host(name, id_) for id_, name in found}

    def largest(self, flows: Collection[Flow], order: Order, most: int) -> Largest:
        """See Selection."""
        raise NotImplementedError  # see FleetReader.ranks_remotes

    def timeline(self, groups: Mapping[Flow, Flow] | None) -> Iterator[tuple[Span, Flow, int, int]]:
        """See Selection."""
        spans, key = self._spans(), ["level", "start"]
        if groups is None:
            for level, start, rx, tx in self._traffic([*key, "sum(rx)", "sum(tx)"], key):
                yield Span(level, start, spans.get((level, start), start)), 0, rx, tx
            return
        read = [_READ.get(name, name) for name in self._needs]
        by = [_KEYS.get(name, name) for name in self._needs]
        for level, start, *ends, rx, tx in self._traffic(
            [*key, *read, "sum(rx)", "sum(tx)"], [*key, *by]
        ):
            if tuple(ends) in groups:
                span = Span(level, start, spans.get((level, start), start))
                yield span, groups[tuple(ends)], rx, tx

    def _spans(self) -> dict[tuple[int, float], float]:
        """Return the ends of the spans by level and start."""
        found = self._server.query(
            f"SELECT level, start, max(end) FROM span FINAL WHERE level > 0 AND {self._where} GROUP BY level, start"
        )
        return {(level, start): end for level, start, end in found}

    def coverage(self) -> Iterator[tuple[Span, float, Loss]]:
        """See Selection; measured intervals are added up by minute."""
        for level, start, end, seconds, *loss in self._coverage():
            yield Span(level, start, end), seconds, Loss(*loss)
