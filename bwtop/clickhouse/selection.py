"""Selections from the history of many hosts (see history.store.Selection)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.named import OWN, has_names, parsed, with_names
from bwtop.clickhouse.recorded import RecordedTime
from bwtop.clickhouse.schema import SPAN, TRAFFIC
from bwtop.clickhouse.spans import SOUND, by_plan, counted, of_hosts, of_plans
from bwtop.history.boundaries import Span
from bwtop.history.calendar import MINUTE
from bwtop.history.dimensions import ENDS
from bwtop.history.plan import Bounds, Piece, Plan
from bwtop.history.store import ByNetwork, Ends, Flow, FlowNames, FlowSums, Moved, sql_of_pids
from bwtop.model import networks
from bwtop.model.filter import Filter
from bwtop.model.flows import (
    RECORDED_LOSSES,
    UNKNOWN_ADDRESS,
    Host,
    Identity,
    Loss,
    Remote,
    stored_identity,
    stored_remote,
    told_apart,
)
from bwtop.model.ledger import Category, category_of
from bwtop.model.named import REMOTE_NAME
from bwtop.model.networks import LOOPBACK

MOST_TOLD_APART: Final = 1_000_000
"""Rows of traffic whose networks are told apart by span: old servers add up two millions a second."""

_KEYS: Final = {"host": "host_id"}
"""Columns to group by, where they differ from the property's name."""

_READ: Final = {"host": "toString(host_id)", "address": "hex(address)"}
"""SQL to read a property, where it differs from its name."""


Once = Callable[[str], Sequence[tuple[Any, ...]]]
"""Runs a query, or returns its former answer."""


@dataclass(frozen=True)
class FleetPlans:
    """The rows for a range, by host id."""

    bounds: Bounds
    """The range."""
    moved: Mapping[str, Plan]
    """The rows of traffic."""
    recorded: Mapping[str, Sequence[Piece]]
    """The table of spans, which has the recorded seconds of the rows."""
    hosts: Sequence[str] | None = None
    """The ids of the hosts that count; None: all."""
    few: str = ""
    """SQL condition of these hosts, if they are a few of many."""


class FleetSelection:
    """Selection from ClickHouse (see history.store.Selection); the key of a flow is the tuple of its properties."""

    def __init__(
        self,
        server: FleetServer,
        plans: FleetPlans,
        needs: frozenset[str],
        keep: Filter,
        named: Callable[[], Iterable[Host]],
        once: Once,
        settle: Callable[[], None],
    ) -> None:
        """Make a selection.

        `named` returns the hosts, `once` queries for what several selections need, `settle` lets classes of addresses be
        those that each host sees.
        """
        self._server = server
        self._named, self._once, self._settle = named, once, settle
        self._plans = plans
        self._users: dict[int, str] = {}
        self._sums: Mapping[tuple[int, float], Moved] | None = None
        self._needs = [name for name in (*ENDS, REMOTE_NAME) if name in needs]
        of_chosen = f" AND {of_hosts(plans.hosts)}" if plans.hosts else ""
        self._where = of_plans({host: one.pieces for host, one in plans.moved.items()}) + of_chosen
        self._recorded = of_plans(plans.recorded) + of_chosen
        of_pids = sql_of_pids(keep)
        few_pids = "" if any(term.negated for term in keep.plain("pid")) else of_pids
        self._rows = counted(TRAFFIC, _all(self._where, of_pids), _all(plans.few, few_pids))
        self.start = min((one.start for one in plans.moved.values()), default=plans.bounds[0])
        self.end = max((one.end for one in plans.moved.values()), default=plans.bounds[1])

    def _traffic(self, columns: Sequence[str], by: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        groups = f"GROUP BY {', '.join(by)}" if by else ""
        rows = self._named_rows(by) if REMOTE_NAME in by else self._rows
        return self._server.query(f"SELECT {', '.join(columns)} FROM {rows} {groups}")

    def _named_rows(self, by: Sequence[str]) -> str:
        """Return the SQL of the rows of traffic, added up by flow, with the names of their remotes."""
        keys = list(dict.fromkeys((*OWN, "user", *(name for name in by if name != REMOTE_NAME))))
        if not has_names(self._server):
            return f"(SELECT {', '.join(keys)}, rx, tx, '' AS {REMOTE_NAME} FROM {self._rows})"
        return with_names(self._rows, keys, self.end)

    def _coverage(self) -> Sequence[tuple[Any, ...]]:
        """Return (group, level, start, end, the most seconds that one host has recorded in it, the loss of all hosts).

        Hosts with one plan are a group.  Measured intervals are added up by minute, and end at its start.
        """
        minute = f"floor(start / {MINUTE}) * {MINUTE}"
        sums = ", ".join(f"sum({name}) AS {name}" for name in RECORDED_LOSSES)
        totals = ", ".join(f"sum({name})" for name in RECORDED_LOSSES)
        return self._once(
            f"SELECT {self._group()} AS grp, level, first, max(last), max(recorded), {totals} FROM"
            f" (SELECT host_id, level, if(level = 0, {minute}, start) AS first,"
            f" max(if(level = 0, {minute}, end)) AS last, sum(seconds) AS recorded, {sums}"
            f" FROM {counted(SPAN, f'{self._recorded} AND {SOUND}', self._plans.few)}"
            f" GROUP BY host_id, level, first) GROUP BY grp, level, first"
        )

    def _group(self) -> str:
        """Return the SQL of the number of a host's plan; the most hosts have 0."""
        groups = enumerate(by_plan(self._plans.recorded))
        places = {host: place for place, (_, hosts) in groups for host in hosts if place}
        if not places:
            return "0"
        listed = ", ".join(f"'{host}'" for host in places)
        return f"transform(toString(host_id), [{listed}], {[*places.values()]}, 0)"

    def sums(self) -> FlowSums:
        """See Selection; a uid has a name where all hosts agree on it."""
        read = [_READ.get(name, name) for name in self._needs]
        by = [_KEYS.get(name, name) for name in self._needs]
        found: dict[Flow, tuple[int, int]] = {}
        names: dict[int, set[str]] = {}
        is_named = "uid" in self._needs
        users = ["min(user)", "max(user)"] if is_named else ["''", "''"]
        for *ends, first, last, rx, tx in self._traffic([*read, *users, "sum(rx)", "sum(tx)"], by):
            if ends or rx or tx:
                found[tuple(ends)] = (rx, tx)
            if is_named:
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
        hosts = {host.id: host for host in self._named()} if "host" in self._needs else {}
        return {flow: self._end(flow, hosts) for flow in flows}

    def _end(self, flow: Flow, hosts: Mapping[str, Host]) -> tuple[Identity, Remote]:
        assert isinstance(flow, tuple), "a key from sums()"
        known = dict(zip(self._needs, flow, strict=True))
        who = stored_identity(known, host=hosts.get(known.get("host", "")))
        address = bytes.fromhex(known["address"]) if "address" in known else UNKNOWN_ADDRESS
        remote = stored_remote(
            known.get("protocol", 0), known.get("role", 0), known.get("port", 0), address
        )
        return who, remote

    def names(self, flows: Collection[Flow]) -> FlowNames:
        """See Selection."""
        place = self._needs.index(REMOTE_NAME)
        names = {flow: parsed(flow[place]) for flow in flows if isinstance(flow, tuple)}
        return {flow: name for flow, name in names.items() if name}

    def losing(self) -> list[Host]:
        """See Selection."""
        lost = " + ".join(RECORDED_LOSSES)
        found = self._server.query(
            f"SELECT toString(host_id), sum(spilled_bytes + unattributed_bytes) AS amount FROM span"
            f" WHERE {self._recorded} AND {lost} > 0 GROUP BY host_id ORDER BY amount DESC, host_id"
        )
        hosts = {host.id: host for host in told_apart(self._named())}
        return [hosts[id_] for id_, _ in found if id_ in hosts]

    def timeline(self, groups: Mapping[Flow, Flow] | None) -> Iterator[tuple[Span, Flow, int, int]]:
        """See Selection."""
        span = self._spans()
        if groups is None:
            for (level, start), (rx, tx) in self._by_span().items():
                yield span(level, start), 0, rx, tx
            return
        key, sums = ["level", "start"], dict[tuple[int, float], Moved]()
        read = [_READ.get(name, name) for name in self._needs]
        by = [_KEYS.get(name, name) for name in self._needs]
        for level, start, *ends, rx, tx in self._traffic(
            [*key, *read, "sum(rx)", "sum(tx)"], [*key, *by]
        ):
            before = sums.get((level, start), (0, 0))
            sums[level, start] = before[0] + rx, before[1] + tx
            if tuple(ends) in groups:
                yield span(level, start), groups[tuple(ends)], rx, tx
        self._sums = sums

    def _by_span(self) -> Mapping[tuple[int, float], Moved]:
        """Return the bytes by level and start of the span, which the timeline of the flows has, too."""
        if self._sums is None:
            key = ["level", "start"]
            found = self._traffic([*key, "sum(rx)", "sum(tx)"], key)
            self._sums = {(level, start): (rx, tx) for level, start, rx, tx in found}
        return self._sums

    def is_large(self) -> bool:
        """See Selection; counting takes a twentieth of adding up, so rows that were sent twice count twice."""
        ((count,),) = self._server.query(f"SELECT count() FROM traffic WHERE {self._where}")
        return bool(count > MOST_TOLD_APART)

    def networks(self, shown: Collection[Category]) -> Iterator[ByNetwork]:
        """See Selection."""
        known, span, by = networks.current(), self._spans(), ["level", "start", "protocol", "net"]
        for level, start, protocol, place, rx, tx in self._traffic(
            [*by[:-1], f"{self._net()} AS net", "sum(rx)", "sum(tx)"], by
        ):
            name = known.names[place]
            if category_of(protocol, loopback=name == LOOPBACK) in shown:
                yield span(level, start), name, rx, tx

    def network_sums(self, shown: Collection[Category]) -> dict[str, Moved]:
        """See Selection."""
        self._settle()
        known, found = networks.current(), dict[str, Moved]()
        for protocol, place, rx, tx in self._traffic(
            ["protocol", f"{self._net()} AS net", "sum(rx)", "sum(tx)"], ["protocol", "net"]
        ):
            name = known.names[place]
            if category_of(protocol, loopback=name == LOOPBACK) in shown:
                before = found.get(name, (0, 0))
                found[name] = (before[0] + rx, before[1] + tx)
        return found

    @staticmethod
    def _net() -> str:
        """Return the SQL of the class of a remote."""
        return networks.current().sql(
            "hex(address)", lambda packed: f"'{packed.hex().upper()}'", lambda id_: of_hosts([id_])
        )

    def _spans(self) -> Callable[[int, float], Span]:
        """Return a function that makes the span of a level and start."""
        ends: dict[tuple[int, float], float] = {}
        for _, level, start, end, *_ in self._coverage():
            if level:
                ends[level, start] = max(end, ends.get((level, start), end))
        return lambda level, start: Span(level, start, ends.get((level, start), start))

    def coverage(self) -> Iterator[tuple[Span, float, Loss]]:
        """See Selection; measured intervals are added up by minute.

        Hosts may have different spans for the same time: one is in another time zone, another has gone.  What several hosts
        have recorded counts once.
        """
        groups: dict[int, list[tuple[Span, float, Loss]]] = {}
        for group, level, start, end, seconds, *loss in self._coverage():
            found = Span(level, start, end), seconds, Loss(*loss)
            groups.setdefault(group, []).append(found)
        known = RecordedTime()
        for _, rows in sorted(groups.items()):
            new = [seconds for _, seconds, _ in rows]
            if len(groups) > 1:
                new = known.add([_bounds(span) for span, *_ in rows], new)
            for (span, _, lost), beyond in zip(rows, new, strict=True):
                yield span, beyond, lost


def _all(*conditions: str) -> str:
    """Return the SQL of all of some conditions; empty ones have no effect."""
    return " AND ".join(filter(None, conditions))


def _bounds(span: Span) -> Bounds:
    """Return the time that a row of the coverage is of: of measured intervals, it is a minute."""
    return span.start, span.end if span.level else span.start + MINUTE
