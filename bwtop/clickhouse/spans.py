"""Spans of all hosts, queried at once: most hosts share a plan."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.schema import ServerTable
from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling
from bwtop.history.plan import NOTHING, Bounds, Piece
from bwtop.sqlite.checked import LONGEST

LAST: Final = 2**32 - 1
"""The last second of a DateTime."""

_YEAR: Final = 366 * DAY

_LONGEST: Final = {1: 2 * MINUTE, 2: 2 * HOUR, 3: 3 * DAY, 4: 35 * DAY}
"""Longest span of a level in seconds, also where the time zone changes."""

SOUND: Final = (
    f"start >= 0 AND end <= {LAST} AND end >= start AND seconds >= 0 AND seconds <= {LONGEST!r}"
)
"""SQL condition: spans that bwtop may have written.  A host that was broken into can send others, with infinite times."""

ROUNDING: Final = 0.001
"""Seconds by which totals may differ when added in another order."""


def within(start: float, end: float) -> str:
    """Return the SQL condition: a DateTime from `start` until before `end`, to the second."""
    first, last = (min(max(math.ceil(when), 0), LAST) for when in (start, end))
    return f"time >= toDateTime({first}) AND time < toDateTime({last})"


def since(level: int, start: float, end: float) -> str:
    """Return the SQL condition: rows of a level that begin from `start` until before `end`; it uses the key."""
    around = within(math.floor(start), end + 1)
    return f"level = {level} AND {around} AND start >= {start!r} AND start < {end!r}"


def sound(when: str) -> str:
    """Return the SQL of a time, or of one that a server can have for an infinite time or none."""
    return f"least(greatest({when}, 0), {LAST})"


def of_hosts(hosts: Iterable[str], *, others: bool = False) -> str:
    """Return the SQL condition: rows of some hosts, or of all others."""
    listed = ", ".join(f"'{host}'" for host in sorted(hosts))
    return f"host_id {'NOT ' if others else ''}IN ({listed})"


def counted(table: ServerTable, where: str, few: str = "") -> str:
    """Return the SQL of the rows of a table, to follow FROM: each once, in its last version, however often it was sent.

    `few` is a condition that few rows meet.  Only those are read and compared then, where FINAL merges all rows first.
    """
    if not few:
        return f"{table.name} FINAL WHERE {where}"
    rows = f"SELECT * FROM {table.name} PREWHERE {few} WHERE {where}"
    return f"({rows} ORDER BY {table.version} DESC LIMIT 1 BY {', '.join(table.key)})"


def by_plan(plans: Mapping[str, Sequence[Piece]]) -> list[tuple[Sequence[Piece], list[str]]]:
    """Return the hosts by equal pieces, the most hosts first."""
    found: dict[tuple[Piece, ...], list[str]] = {}
    for host, pieces in plans.items():
        found.setdefault(tuple(pieces), []).append(host)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def of_plans(plans: Mapping[str, Sequence[Piece]]) -> str:
    """Return the SQL condition: the rows of each host's pieces.

    The most common pieces apply to all hosts without a condition of their own: that keeps the statement short.
    """
    by_size = by_plan(plans)
    others = [host for _, hosts in by_size[1:] for host in hosts]
    alternatives = []
    for place, (of, hosts) in enumerate(by_size):
        rows = " OR ".join(f"({since(piece.level, piece.start, piece.end)})" for piece in of)
        if not others:
            alternatives.append(rows or "0")
        elif rows:
            whose = of_hosts(hosts) if place else of_hosts(others, others=True)
            alternatives.append(f"({whose} AND ({rows}))")
    return f"({' OR '.join(alternatives) or '0'})"


def _periods(start: float, end: float) -> str:
    """Return the SQL condition: the periods of the presence that a range may lie in."""
    first, last = (min(max(math.floor(when), 0), LAST) for when in (start - _YEAR, end))
    return f"period >= toDate(toDateTime({first}), 'UTC') AND period <= toDate(toDateTime({last}), 'UTC')"


class FleetSpans:
    """The spans of all hosts, or of some."""

    def __init__(self, server: FleetServer, hosts: Collection[str] | None = None) -> None:
        self._server = server
        self._only = "" if hosts is None else f" AND {of_hosts(hosts)}"
        self.hosts = cache(self._hosts)
        self.inside = cache(self._inside)
        self.widened = cache(self._widened)
        self.forgotten = cache(self._forgotten)
        self.fits = cache(self._fits)

    def _ask(self, columns: str, condition: str, rest: str = "") -> Iterable[tuple[Any, ...]]:
        """Query the spans; one that was sent twice is there twice, with the same start and end."""
        return self._server.query(
            f"SELECT {columns} FROM span WHERE {condition} AND {SOUND}{self._only} {rest}"
        )

    def _hosts(self, start: float, end: float) -> set[str]:
        """Return the ids of the hosts that may have rows in a range."""
        found = self._server.query(
            "SELECT DISTINCT toString(host_id) FROM"
            " (SELECT host_id, minMerge(first) AS begun, maxMerge(last) AS over FROM presence"
            f" WHERE {_periods(start, end)}{self._only} GROUP BY level, period, host_id)"
            f" WHERE begun < {end!r} AND over > {start!r}"
        )
        return {host for (host,) in found}

    def of(self, host: str) -> "HostSpans":
        """Return the spans of a host."""
        return HostSpans(self, host)

    def _inside(self, level: int, start: float, end: float) -> dict[str, Bounds]:
        found = self._ask(
            "toString(host_id), min(start), max(end)",
            f"{since(level, start, end)} AND end <= {end!r}",
            "GROUP BY host_id",
        )
        return {host: (first, after) for host, first, after in found}

    def _widened(self, level: int, when: float) -> dict[str, Bounds]:
        """Return the bounds of the span around a time by host, for hosts that lack finer rows of it."""
        around: dict[Bounds, dict[str, float]] = {}
        for host, start, end, seconds in self._ask(
            "toString(host_id), start, end, seconds",
            f"{since(level, when - _LONGEST[level], when)} AND end > {when!r}",
        ):
            around.setdefault((start, end), {})[host] = seconds
        found: dict[str, Bounds] = {}
        for bounds, hosts in around.items():
            finer = self._seconds(level - 1, bounds)
            for host, seconds in hosts.items():
                if finer.get(host, 0.0) < seconds - ROUNDING:
                    found[host] = bounds
        return found

    def _seconds(self, level: int, bounds: Bounds) -> dict[str, float]:
        found = self._server.query(
            "SELECT toString(host_id), sum(seconds) FROM span FINAL"
            f" WHERE {since(level, *bounds)} AND {SOUND}{self._only} GROUP BY host_id"
        )
        return dict(found)

    def _forgotten(self, level: int, start: float, end: float) -> dict[str, float]:
        """Return the start of the finer rows of a range by host."""
        found = self._ask(
            "toString(host_id), min(start)", since(level - 1, start, end), "GROUP BY host_id"
        )
        return dict(found)

    def _fits(self, level: int, start: float, end: float, unit: Unit) -> bool:
        found = self._ask("DISTINCT start, end", f"{since(level, start, end)} AND end <= {end!r}")
        return all(ceiling(unit, first) >= after for first, after in found)


class HostSpans:
    """The spans of one host (see plan.Spans)."""

    def __init__(self, fleet: FleetSpans, host: str) -> None:
        self._fleet = fleet
        self._host = host

    def forgotten(self, level: int, start: float, end: float) -> float:
        """See plan.Spans: there are no finer rows before it."""
        return self._fleet.forgotten(level, start, end).get(self._host, float("inf"))

    def inside(self, level: int, start: float, end: float) -> Bounds:
        """See plan.Spans."""
        return self._fleet.inside(level, start, end).get(self._host, NOTHING)

    def widened(self, level: int, when: float) -> Bounds:
        """See plan.Spans."""
        return self._fleet.widened(level, when).get(self._host, NOTHING)

    def fits(self, level: int, start: float, end: float, unit: Unit) -> bool:
        """See plan.Spans; for all hosts, so that they share a plan."""
        return self._fleet.fits(level, start, end, unit)
