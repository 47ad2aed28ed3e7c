"""Read the rows of a plan."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bwtop.history.boundaries import Span
from bwtop.history.dimensions import OF_REMOTE
from bwtop.history.plan import Piece, Plan
from bwtop.history.store import ByNetwork, Ends, Flow, FlowNames, FlowSums, Largest, Moved, Order
from bwtop.identity.users import user_name
from bwtop.model import networks
from bwtop.model.flows import UNKNOWN_ADDRESS, Host, Identity, Loss, Remote, Role, stored_identity
from bwtop.model.ledger import Category, category_of
from bwtop.model.networks import LOOPBACK
from bwtop.sqlite import checked
from bwtop.sqlite.seen import SeenReader

_INTERVALS: Final = "interval WHERE start >= ? AND start < ?"
_SPANS: Final = "span WHERE level = ? AND start >= ? AND start < ?"

_ASKED: Final = "FROM asked JOIN flow ON flow.id = asked.id JOIN remote ON remote.id = flow.remote"

_NO_REMOTE: Final = Remote(0, 0, 0, UNKNOWN_ADDRESS)

_NETWORKS: Final = 1024
"""More than there can be networks."""

MOST_TOLD_APART: Final = 200_000
"""Rows of bytes whose networks are told apart for a total alone."""

_ORDERS: Final = {"total": "sum(rx) + sum(tx)", "rx": "sum(rx)", "tx": "sum(tx)"}
"""SQL of the values of an order."""


class LocalSelection:
    """Selection of the traffic of a plan (see history.store.Selection).

    The key of a flow is its id; the id of its program where no property of the remote is needed: there are far fewer.
    `of_pids` is an SQL condition that limits it to some pids; only the finest level has pids.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        plan: Plan,
        host: Host | None = None,
        of_pids: str = "",
        needs: frozenset[str] = frozenset(OF_REMOTE),
    ) -> None:
        self._connection = connection
        self._run = connection.execute
        self._plan = plan
        self._host = host
        self._of_pids = (
            f"AND process IN (SELECT id FROM process WHERE {of_pids})"  # noqa: S608 - our own SQL
            if of_pids
            else ""
        )
        self._is_by_program = needs.isdisjoint(OF_REMOTE)
        self._key = "program" if self._is_by_program else "flow"
        self._join = "JOIN flow ON flow.id = flow" if self._is_by_program else ""
        self._has_moved = False
        self.start, self.end = plan.start, plan.end

    def sums(self) -> FlowSums:
        """Return the bytes by flow."""
        found: dict[Flow, tuple[int, int]] = {}
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            for flow, rx, tx in self._run(
                f"SELECT {self._key}, sum(rx), sum(tx) FROM {table} {self._join}"  # noqa: S608 - constants and question marks
                f" WHERE {key} IN (SELECT id FROM {parents}) {self._of_pids} GROUP BY {self._key}",
                _bounds(piece),
            ):
                received, sent = checked.moved(rx, tx)
                before = found.get(checked.whole(flow), (0, 0))
                found[flow] = (before[0] + received, before[1] + sent)
        return found

    def ends(self, flows: Collection[Flow]) -> Ends:
        """Return the identity and remote of each flow; users have the names of this host."""
        if self._is_by_program:
            return {
                program: (self._identity(checked.whole(program)), _NO_REMOTE) for program in flows
            }
        programs: dict[int, Identity] = {}
        found: dict[Flow, tuple[Identity, Remote]] = {}
        self._ask_for(flows)
        for flow, program, address, port, protocol, role in self._run(
            f"SELECT flow.id, program, address, port, protocol, role {_ASKED}"
        ):
            if program not in programs:
                programs[program] = self._identity(program)
            found[flow] = (programs[program], checked.remote(protocol, role, port, address))
        return found

    def _ask_for(self, flows: Collection[Flow]) -> None:
        """Put flows into a table of this connection."""
        self._run("CREATE TEMP TABLE IF NOT EXISTS asked (id INTEGER PRIMARY KEY)")
        self._run("DELETE FROM asked")
        self._connection.executemany("INSERT INTO asked VALUES (?)", ((flow,) for flow in flows))

    def names(self, flows: Collection[Flow]) -> FlowNames:
        """See Selection."""
        seen = SeenReader(self._connection, self.end)
        self._ask_for(flows)
        found = {}
        for flow, program, address, port, role in self._run(
            f"SELECT flow.id, program, address, port, role {_ASKED}"
        ):
            far_port = port if role == Role.CLIENT else None
            if name := seen.of_flow(program, address, far_port):
                found[flow] = name
        return found

    def _identity(self, program: int) -> Identity:
        who = identity(self._connection, program, host=self._host)
        return replace(who, user=None if who.uid is None else user_name(who.uid))

    def largest(self, flows: Collection[Flow], order: Order, most: int) -> Largest:
        """See Selection; SQLite picks the largest of millions."""
        self._move()
        by, reverse = order
        programs = ", ".join(str(checked.whole(program)) for program in flows)
        found = f"FROM flow CROSS JOIN moved ON moved.flow = flow.id WHERE program IN ({programs})"
        counted = "count(*)" if len(flows) == 1 else "count(DISTINCT remote)"
        (count,) = self._run(f"SELECT {counted} {found}").fetchone()
        largest = self._run(
            f"SELECT remote, sum(rx), sum(tx) {found} GROUP BY remote"
            f" ORDER BY {_ORDERS[by]} {'ASC' if reverse else 'DESC'}, remote LIMIT ?",
            (most,),
        ).fetchall()
        return [(self._remote(remote), checked.moved(*both)) for remote, *both in largest], count

    def _remote(self, number: int) -> Remote:
        found = self._run(
            "SELECT protocol, role, port, address FROM remote WHERE id = ?", (number,)
        )
        return checked.remote(*checked.row(found))

    def _move(self) -> None:
        """Add up the bytes by flow in a table of this connection."""
        if self._has_moved:
            return
        self._has_moved = True
        self._run("DROP TABLE IF EXISTS temp.moved")
        self._run("CREATE TEMP TABLE moved (flow INTEGER PRIMARY KEY, rx INTEGER, tx INTEGER)")
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            self._run(
                f"INSERT INTO moved SELECT flow, rx, tx FROM {table}"  # noqa: S608 - constants and question marks
                f" WHERE {key} IN (SELECT id FROM {parents}) {self._of_pids}"
                " ON CONFLICT DO UPDATE SET rx = rx + excluded.rx, tx = tx + excluded.tx",
                _bounds(piece),
            )

    def users(self) -> None:
        """See Selection."""

    def timeline(self, groups: Mapping[Flow, Flow] | None) -> Iterator[tuple[Span, Flow, int, int]]:
        """Yield (span, group, received, sent) of the flows in a group; None: all flows are in group 0."""
        if groups is not None:
            self._run(
                "CREATE TEMP TABLE IF NOT EXISTS chosen (id INTEGER PRIMARY KEY, grp INTEGER)"
            )
            self._run("DELETE FROM chosen")
            self._connection.executemany("INSERT INTO chosen VALUES (?, ?)", groups.items())
        group, join, by = (
            ("0", "", "")
            if groups is None
            else ("grp", f"{self._join} JOIN chosen ON chosen.id = {self._key}", ", grp")
        )
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table, parent = ("delta", "interval") if piece.level == 0 else ("traffic", "span")
            of_parent = f"FROM {parent} WHERE id = {table}.{key}"
            for start, end, of, rx, tx in self._run(
                f"SELECT (SELECT start {of_parent}), (SELECT {_end(piece)} {of_parent}),"  # noqa: S608 - constants and question marks
                f" {group}, sum(rx), sum(tx)"
                f" FROM {table} {join} WHERE {key} IN (SELECT id FROM {parents}) {self._of_pids}"
                f" GROUP BY {key}{by}",
                _bounds(piece),
            ):
                yield _span(piece, start, end), of, *checked.moved(rx, tx)

    def is_large(self) -> bool:
        """See Selection; one host's rows take half a second a year."""
        return False

    def networks(self, shown: Collection[Category]) -> Iterator[ByNetwork]:
        """See Selection; a year of a busy desktop has few flows and many rows, so flows are told apart first."""
        groups = self._told_apart(shown)
        if not groups:
            return
        sums = ", ".join(
            f"sum(CASE WHEN grp IN ({listed}) THEN {way} ELSE 0 END)"
            for listed in (", ".join(map(str, group)) for group in groups.values())
            for way in ("rx", "tx")
        )
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table, parent = ("delta", "interval") if piece.level == 0 else ("traffic", "span")
            of_parent = f"FROM {parent} WHERE id = {table}.{key}"
            for start, end, *moved in self._run(
                f"SELECT (SELECT start {of_parent}), (SELECT {_end(piece)} {of_parent}), {sums}"  # noqa: S608 - constants and numbers
                f" FROM {table} CROSS JOIN apart ON apart.id = flow"
                f" WHERE {key} IN (SELECT id FROM {parents}) GROUP BY {key}",
                _bounds(piece),
            ):
                for name, rx, tx in zip(groups, moved[::2], moved[1::2], strict=True):
                    yield _span(piece, start, end), name, *checked.moved(rx, tx)

    def _told_apart(self, shown: Collection[Category]) -> dict[str, list[int]]:
        """Put all flows into a table with a number of their protocol and network; return the numbers by network."""
        known = networks.current()
        net = known.sql("address", lambda packed: f"x'{packed.hex()}'")
        self._run("CREATE TEMP TABLE IF NOT EXISTS apart (id INTEGER PRIMARY KEY, grp INTEGER)")
        self._run("DELETE FROM apart")
        self._run(
            f"INSERT INTO apart SELECT flow.id, {_NETWORKS} * protocol + {net}"  # noqa: S608 - numbers
            " FROM flow JOIN remote ON remote.id = remote"
        )
        found: dict[str, list[int]] = {}
        for (group,) in self._run("SELECT DISTINCT grp FROM apart").fetchall():
            protocol, place = divmod(checked.whole(group), _NETWORKS)
            name = known.names[place]
            if category_of(protocol, loopback=name == LOOPBACK) in shown:
                found.setdefault(name, []).append(group)
        return found

    def network_sums(self, shown: Collection[Category]) -> Mapping[str, Moved] | None:
        """See Selection."""
        if self._has_more_than(MOST_TOLD_APART):
            return None
        known, found = networks.current(), dict[str, Moved]()
        net = known.sql("address", lambda packed: f"x'{packed.hex()}'")
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            for protocol, place, *moved in self._run(
                f"SELECT protocol, {net} AS net, sum(rx), sum(tx) FROM"  # noqa: S608 - constants and numbers
                f" (SELECT flow, sum(rx) AS rx, sum(tx) AS tx FROM {table}"
                f" WHERE {key} IN (SELECT id FROM {parents}) GROUP BY flow) AS moved"
                " CROSS JOIN flow ON flow.id = moved.flow CROSS JOIN remote ON remote.id = remote"
                " GROUP BY protocol, net",
                _bounds(piece),
            ):
                name = known.names[checked.whole(place)]
                if category_of(checked.whole(protocol), loopback=name == LOOPBACK) in shown:
                    (rx, tx), more = found.get(name, (0, 0)), checked.moved(*moved)
                    found[name] = (rx + more[0], tx + more[1])
        return found

    def _has_more_than(self, rows: int) -> bool:
        """Return whether the plan has more than so many rows of bytes, without counting all."""
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            (count,) = self._run(
                f"SELECT count(*) FROM (SELECT 1 FROM {table}"  # noqa: S608 - constants
                f" WHERE {key} IN (SELECT id FROM {parents}) LIMIT ?)",
                (*_bounds(piece), rows + 1),
            ).fetchone()
            rows -= checked.whole(count)
        return rows < 0

    def losing(self) -> Sequence[Host]:
        """See Selection."""
        return ()

    def coverage(self) -> Iterator[tuple[Span, float, Loss]]:
        """Yield (span, seconds recorded, loss)."""
        for piece in self._plan.pieces:
            _, parents = _parents(piece)
            for start, end, seconds, loss in self._run(
                f"SELECT start, {_end(piece)}, seconds, loss FROM {parents}",  # noqa: S608 - constants
                _bounds(piece),
            ):
                yield _span(piece, start, end), checked.seconds(seconds), checked.loss(loss)


def _parents(piece: Piece) -> tuple[str, str]:
    """Return the column that refers to an interval or span, and the SQL of the intervals or spans."""
    return ("interval", _INTERVALS) if piece.level == 0 else ("span", _SPANS)


def _end(piece: Piece) -> str:
    """Return the SQL of the end of an interval or span: intervals count at their start."""
    return "start" if piece.level == 0 else "end"


def _span(piece: Piece, start: object, end: object) -> Span:
    return Span(piece.level, checked.moment(start), checked.moment(end))


def _bounds(piece: Piece) -> tuple[float, ...]:
    bounds = (piece.start, piece.end)
    return bounds if piece.level == 0 else (piece.level, *bounds)


_IDENTITY: Final = ("name", "exe", "uid", "unit", "container", "pod", "kernel")
"""The columns of a program that identify it."""


def identity(
    connection: sqlite3.Connection,
    program: int,
    *,
    cmdline: str = "",
    started: float | None = None,
    host: Host | None = None,
) -> Identity:
    """Return the stored identity of a program, with the given details of its process."""
    found = connection.execute(
        f"SELECT {', '.join(_IDENTITY)} FROM program WHERE id = ?",  # noqa: S608 - a constant
        (program,),
    )
    return stored_identity(
        dict(zip(_IDENTITY, checked.program(checked.row(found)), strict=True)),
        cmdline=cmdline,
        started=None if started is None else datetime.fromtimestamp(started, UTC),
        host=host,
    )
