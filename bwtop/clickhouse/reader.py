"""The history of many hosts in ClickHouse: see history.store.HistoryStore.

Each level has the rows that the hosts have sent.  A range is planned for each host by itself: one may lag, another may
be in another time zone.  Most hosts have the same plan.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final
from zlib import crc32

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.clocks import wrong_clocks
from bwtop.clickhouse.follow import WHO
from bwtop.clickhouse.homes import settle
from bwtop.clickhouse.named import seen_names
from bwtop.clickhouse.peers import peers_of
from bwtop.clickhouse.selection import FleetPlans, FleetSelection
from bwtop.clickhouse.spans import SOUND, FleetSpans, of_hosts, since, sound, within
from bwtop.history import plan
from bwtop.history.boundaries import Span
from bwtop.history.calendar import DAY, FIVE_MINUTES, MINUTE, Unit, ceiling
from bwtop.history.dimensions import NET
from bwtop.history.names import SeenNames
from bwtop.history.plan import Bounds, Piece
from bwtop.history.store import Amounts, Measured, sql_of_pids
from bwtop.history.tiers import DAYS
from bwtop.history.usage import FiveMinutes, Usage, percentile
from bwtop.model import networks
from bwtop.model.filter import Filter
from bwtop.model.flows import (
    LOOPBACK_V4,
    UNKNOWN_ADDRESS,
    Host,
    ProcessKey,
    Remote,
    stored_identity,
    stored_remote,
)
from bwtop.model.ledger import Category, category
from bwtop.model.rates import rate
from bwtop.model.series import peak
from bwtop.sqlite.schema import pulse_column

_REACHES: Final = (2.0 * MINUTE, 2.0 * DAY, 40.0 * DAY, 40_000.0 * DAY)
"""Seconds within which the span beside a time is looked for, one after the other."""


FEW: Final = 20
"""Largest number of hosts whose rows are read alone, not merged with those of all hosts: they are sorted in memory."""

SHARE: Final = 20
"""They are so small a share of all hosts, at most: of more, merging all rows is faster."""


class FleetReader:
    """The history on a server; the spans are queried once, so that an answer is of one moment."""

    ranks_remotes = False
    selects_hosts = True

    def __init__(self, server: FleetServer) -> None:
        self._server = server
        self._once = cache(server.query)
        self._named: list[Host] | None = None
        self._hosts: tuple[str, ...] | None = None
        self._is_one = True
        self._is_settled = False
        self._spans: dict[tuple[str, ...] | None, FleetSpans] = {}

    def close(self) -> None:
        """See HistoryStore."""
        self._server.close()

    def ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """Query the server; raise FleetError."""
        return self._server.query(statement)

    def hosts(self) -> list[Host]:
        """See HistoryStore; sorted by name."""
        if self._named is None:
            found = self.ask(
                "SELECT argMaxMerge(host), toString(host_id) FROM presence GROUP BY host_id"
            )
            self._named = sorted(Host(name, id_) for name, id_ in found)
        return self._named

    def extent(self) -> Bounds | None:
        """See HistoryStore; the same rule as in SQLite."""
        finer = self._one(
            f"SELECT count(), {sound('minMerge(first)')}, {sound('maxMerge(last)')}"
            f" FROM presence WHERE level <= {DAYS}"
        )
        before = f" AND end <= {finer[0]!r}" if finer else ""
        months = self._one(
            f"SELECT count(), min(start), max(end) FROM span WHERE level > {DAYS} AND {SOUND}{before}"
        )
        if finer is None or months is None:
            return finer or months
        return months[0], finer[1]

    def _one(self, statement: str) -> Bounds | None:
        """Return the bounds of what a statement counts; None: it is nothing."""
        ((count, start, end),) = self._once(statement)
        return (start, end) if count else None

    def pids_since(self) -> float:
        """See HistoryStore: none of the hosts has deleted a later second before it was sent."""
        return max((whole for _, whole in self._whole(self._hosts).values()), default=0.0)

    def peers(self) -> dict[bytes, Host]:
        """See HistoryStore; private networks of containers have one address on many hosts."""
        return peers_of(self._server, {host.id: host for host in self.hosts()})

    def names(self, addresses: Collection[bytes], end: float) -> SeenNames:
        """See HistoryStore."""
        return seen_names(self._server, addresses, end, {host.id: host for host in self.hosts()})

    def clocks(self) -> dict[Host, float]:
        """See HistoryStore."""
        wrong = wrong_clocks(self._server)
        return {
            host: wrong[host.id]
            for host in self.hosts()
            if host.id in wrong and (self._hosts is None or host.id in self._hosts)
        }

    def _whole(self, hosts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
        """Return the times by host from which it has recorded seconds, and from which none is missing."""
        if hosts == ():
            return {}
        found = self.ask(
            f"SELECT toString(host_id), {sound('minMerge(first)')}, {sound('maxMerge(whole)')} FROM presence"
            f" WHERE level = 0{f' AND {of_hosts(hosts)}' if hosts else ''} GROUP BY host_id"
        )
        first = self._first_second() or 0.0
        return {host: (begun, max(whole, first)) for host, begun, whole in found}

    def _first_second(self) -> float | None:
        """Return the start of the first interval, if there is one: seconds are deleted sooner than the presence."""
        days = self.ask("SELECT DISTINCT toRelativeDayNum(period) FROM presence WHERE level = 0")
        for (day,) in sorted(days):
            found = self._one(
                "SELECT count(), min(start), max(end) FROM span"
                f" WHERE {since(0, day * DAY, (day + 1) * DAY)} AND {SOUND}"
            )
            if found:
                return found[0]
        return None

    def select(
        self, bounds: Bounds, unit: Unit | None, needs: frozenset[str], keep: Filter
    ) -> FleetSelection:
        """See HistoryStore."""
        if NET in needs:
            self._settle()
            needs |= {"host"} if networks.current().differ else set()
        hosts = self._chosen(keep)
        spans = self._spans.setdefault(hosts, FleetSpans(self._server, hosts))
        here = spans.hosts(*bounds) if hosts != () else set()
        self._hosts, self._is_one = hosts, len(here) < 2
        if sql_of_pids(keep):
            moved = dict.fromkeys(here, plan.finest(*bounds))
            recorded = self._recorded(spans, here, bounds, unit)
        else:
            moved = {host: plan.make(spans.of(host), *bounds, unit) for host in here}
            recorded = {host: one.pieces for host, one in moved.items()}
        plans = FleetPlans(bounds, moved, recorded, hosts, self._few(hosts))
        return FleetSelection(
            *(self._server, plans, needs, keep), self.hosts, self._once, self._settle
        )

    def _few(self, hosts: tuple[str, ...] | None) -> str:
        """Return the SQL condition of a few hosts of many; empty if they are not."""
        is_few = len(hosts or ()) <= min(FEW, len(self.hosts()) // SHARE)
        return of_hosts(hosts) if hosts and is_few else ""

    def _settle(self) -> None:
        """Take the networks of the hosts, once."""
        if not self._is_settled:
            settle(self._server)
            self._is_settled = True

    def _recorded(
        self, spans: FleetSpans, hosts: Collection[str], bounds: Bounds, unit: Unit | None
    ) -> dict[str, Sequence[Piece]]:
        """Return the spans with the recorded time of all seconds of a range, by host.

        Where no second is missing, longer spans have the same time: a week has 600,000 seconds of each host.
        """
        whole, (start, end) = self._whole(self._hosts), bounds
        found: dict[str, Sequence[Piece]] = {}
        for host in hosts:
            complete = max(whole.get(host, (end,)))
            since = min(max(ceiling(Unit.MINUTE, complete), start), end)
            torn = plan.finest(start, since).pieces if start < since else ()
            longer = plan.make(spans.of(host), since, end, unit).pieces if since < end else ()
            found[host] = (*torn, *longer)
        return found

    def _chosen(self, keep: Filter) -> tuple[str, ...] | None:
        """Return the ids of the hosts that pass a filter; None: it has no term on hosts."""
        if not keep.only("host").terms:
            return None
        return tuple(host.id for host in self.hosts() if keep.takes_host(host))

    def _of_selected(self) -> str:
        """Return the SQL of the hosts of the last selection, to follow other conditions."""
        if self._hosts is None:
            return ""
        return f" AND {of_hosts(self._hosts)}" if self._hosts else " AND 0"

    def beside(self, level: int, when: float, *, later: bool) -> Span | None:
        """See HistoryStore; measured intervals of many hosts are taken second by second."""
        for reach in _REACHES:
            bounds = (when, when + reach) if later else (when - reach, when)
            name = "min" if later else "max"
            ((count, start, end),) = self.ask(
                f"SELECT count(), {name}(start), arg{name.title()}(end, start) FROM span"
                f" WHERE {since(level, *bounds)} AND {SOUND}"
            )
            if count and level:
                return Span(level, start, end)
            if count:
                second = math.floor(start)
                return Span(0, second, second + 1)
        return None

    def measured(self, start: float, end: float) -> Iterator[Measured]:
        """See HistoryStore; a number replaces the start time of a process, which hosts do not send."""
        self._settle()
        hosts = {host.id: host for host in self.hosts()}
        for begun, host, spool, process, protocol, role, port, address, *who, rx, tx in self.ask(
            "SELECT start, toString(host_id), spool, process, protocol, role, port, hex(address),"
            f" {', '.join(WHO)}, rx, tx FROM traffic FINAL WHERE {since(0, start, end)}"
            " ORDER BY start"
        ):
            key = ProcessKey.stored(crc32(f"{host} {spool} {process}".encode()), who[0])
            known = dict(zip(WHO, who, strict=True))
            identity = stored_identity(known, host=hosts.get(host) or Host(host, host))
            remote = stored_remote(protocol, role, port, bytes.fromhex(address))
            yield begun, key, identity, remote, rx, tx

    def amounts(self, level: int, start: float, end: float) -> Iterator[Amounts]:
        """See HistoryStore; of many hosts, the most seconds that one has recorded."""
        begin = "start" if level else "floor(start)"
        found: dict[float, dict[Category, tuple[int, int]]] = {}
        for begun, protocol, loopback, rx, tx in self.ask(
            f"SELECT {begin} AS begun, protocol, loopback, sum(rx), sum(tx) FROM traffic FINAL"
            f" WHERE {since(level, start, end)} GROUP BY begun, protocol, loopback"
        ):
            address = LOOPBACK_V4 if loopback else UNKNOWN_ADDRESS
            of = category(Remote(protocol, 0, 0, address))
            before = found.setdefault(begun, {}).get(of, (0, 0))
            found[begun][of] = (before[0] + rx, before[1] + tx)
        for begun, after, seconds in self.ask(
            "SELECT begun, max(after), max(recorded) FROM"
            f" (SELECT {begin} AS begun, max(end) AS after, sum(seconds) AS recorded FROM span FINAL"
            f" WHERE {since(level, start, end)} AND {SOUND}"
            " GROUP BY host_id, begun) GROUP BY begun ORDER BY begun"
        ):
            yield Span(level, begun, after), seconds, found.get(begun, {})

    def events(self, start: float, end: float) -> Iterator[tuple[float, str, float]]:
        """See HistoryStore; of many hosts, only the events of dropped bytes."""
        for moment, kind, amount in self.ask(
            "SELECT moment, kind, amount FROM event FINAL"
            f" WHERE moment >= {start!r} AND moment < {end!r} AND isFinite(amount){self._of_selected()}"
            " ORDER BY time, host_id, spool, event_id"
        ):
            if self._is_one or kind == "dropped":
                yield moment, kind, amount

    def five_minutes(
        self, start: float, end: float, shown: Collection[Category]
    ) -> Sequence[tuple[Any, ...]]:
        """See HistoryStore; of the hosts of the last selection, their common totals and the most seconds of one."""
        return [row[:-1] for row in self._fives(start, end, shown)]

    def _fives(
        self, start: float, end: float, shown: Collection[Category]
    ) -> Sequence[tuple[Any, ...]]:
        """Return the five-minute totals, and how long hosts may have recorded that did so one after the other."""
        amounts = ", ".join(f"sum({_amount(shown, way)})" for way in ("rx", "tx"))
        return self.ask(
            f"SELECT toUInt64(time), max(seconds) AS most, {amounts},"
            f" greatest(most, least(sum(seconds), {FIVE_MINUTES}.0)) FROM fives FINAL"
            f" WHERE {within(start, end)} AND isFinite(seconds){self._of_selected()} GROUP BY time"
        )

    def usage(self, bounds: FiveMinutes, shown: Collection[Category]) -> Usage | None:
        """See HistoryStore."""
        found = self._fives(bounds.start, bounds.end, shown)
        rates = [
            (rate(rx, seconds), rate(tx, seconds))
            for time, seconds, rx, tx, _ in found
            if time != bounds.unfinished
        ]
        if not rates:
            return None
        seconds = sum(longest for *_, longest in found)
        seconds += self._unsent(max(time for time, *_ in found) + FIVE_MINUTES, bounds.end)
        return Usage(peak(rates), len(rates), seconds, partial(percentile, rates))

    def _unsent(self, start: float, end: float) -> float:
        """Return the recorded seconds after the last five-minute total: hosts send totals when they are over."""
        if start >= end:
            return 0.0
        recorded = self.ask(
            f"SELECT sum(seconds) FROM span FINAL WHERE {since(0, start, end)} AND {SOUND}"
            f"{self._of_selected()} GROUP BY host_id"
        )
        each = [seconds for (seconds,) in recorded]
        return max(*each, min(sum(each), end - start)) if each else 0.0


def _amount(categories: Collection[Category], way: str) -> str:
    """Return the SQL of the bytes that some categories received or sent."""
    return " + ".join(pulse_column(of, way) for of in categories) or "0"
