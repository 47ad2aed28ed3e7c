"""The history of many hosts in ClickHouse: see history.store.HistoryStore.

Each level has the rows that the hosts have sent.  A range is planned for each host by itself: one may lag, another may
be in another time zone.  Most hosts have the same plan.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.spans import ROUNDING, FleetSpans, of_hosts, of_plans, within
from bwtop.history import plan
from bwtop.history.calendar import DAY, MINUTE, Unit
from bwtop.history.dimensions import ENDS
from bwtop.history.plan import Bounds, Plan
from bwtop.history.store import Ends, Flow, FlowSums, Largest, Order, sql_of_pids
from bwtop.history.tiers import DAYS
from bwtop.history.usage import Usage, billed, rank
from bwtop.model.filter import Filter
from bwtop.model.flows import UNKNOWN_ADDRESS, Host, Identity, Loss, Remote, stored_identity
from bwtop.model.ledger import Category
from bwtop.model.rates import rate
from bwtop.model.series import Rates, peak
from bwtop.sqlite.schema import pulse_column
from bwtop.sqlite.store import FIVE_MINUTES

_KEYS: Final = {"host": "host_id"}
"""Columns to group by, where they differ from the property's name."""

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

    def usage_since(self) -> float | None:
        """See HistoryStore."""
        ((count, first),) = self._ask("SELECT count(), toUInt64(min(time)) FROM fives")
        return float(first) if count else None

    def usage(self, start: float, end: float, shown: Collection[Category]) -> Usage | None:
        """See HistoryStore; of many hosts, from their common five-minute totals."""
        paid = billed(shown)
        sums = [f"sum({_amount(of, way)})" for of in (shown, paid) for way in ("rx", "tx")]
        found = self._ask(
            f"SELECT max(seconds), {', '.join(sums)} FROM fives FINAL"
            f" WHERE {within(start // FIVE_MINUTES * FIVE_MINUTES, end)} GROUP BY time"
        )
        if not found:
            return None
        rates = [(rate(rx, seconds), rate(tx, seconds)) for seconds, _, _, rx, tx in found]
        return Usage(
            peak((rate(rx, seconds), rate(tx, seconds)) for seconds, rx, tx, *_ in found),
            _percentile(rates),
            len(found),
            sum(rx for *_, rx, _ in found),
            sum(tx for *_, tx in found),
        )


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
        self.start = min([bounds[0], *(one.start for one in plans.values())])
        self.end = max([bounds[1], *(one.end for one in plans.values())])

    def _traffic(self, columns: Sequence[str], by: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        groups = f"GROUP BY {', '.join(by)}" if by else ""
        return self._server.query(
            f"SELECT {', '.join(columns)} FROM traffic FINAL WHERE {self._where}{self._of_pids} {groups}"
        )

    def _coverage(self, bucket: str) -> Sequence[tuple[Any, ...]]:
        """Return (bucket, the most seconds that one host has recorded in it, the loss of all hosts)."""
        sums = ", ".join(f"sum({name}) AS {name}" for name in Loss._fields)
        totals = ", ".join(f"sum({name})" for name in Loss._fields)
        return self._server.query(
            f"SELECT bucket, max(recorded), {totals} FROM"
            f" (SELECT host_id, {bucket} AS bucket, sum(seconds) AS recorded, {sums} FROM span FINAL"
            f" WHERE {self._where} GROUP BY host_id, bucket) GROUP BY bucket"
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

    def timeline(
        self, groups: Mapping[Flow, Flow] | None
    ) -> Iterator[tuple[float, Flow, int, int]]:
        """See Selection."""
        if groups is None:
            for when, rx, tx in self._traffic(["start", "sum(rx)", "sum(tx)"], ["start"]):
                yield when, 0, rx, tx
            return
        read = [_READ.get(name, name) for name in self._needs]
        by = [_KEYS.get(name, name) for name in self._needs]
        for when, *ends, rx, tx in self._traffic(
            ["start", *read, "sum(rx)", "sum(tx)"], ["start", *by]
        ):
            if tuple(ends) in groups:
                yield when, groups[tuple(ends)], rx, tx

    def coverage(self) -> Iterator[tuple[float, float, Loss]]:
        """See Selection; measured intervals are added up by minute."""
        for start, seconds, *loss in self._coverage(
            f"if(level = 0, floor(start / {MINUTE}) * {MINUTE}, start)"
        ):
            yield start, seconds, Loss(*loss)
