"""Read the rows of a plan."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bwtop.history.plan import Piece, Plan
from bwtop.history.store import Ends, Flow, FlowSums
from bwtop.identity.users import user_name
from bwtop.model.flows import Host, Identity, Loss, Remote, stored_identity
from bwtop.sqlite import checked

_INTERVALS: Final = "interval WHERE start >= ? AND start < ?"
_SPANS: Final = "span WHERE level = ? AND start >= ? AND start < ?"


class LocalSelection:
    """Selection of the traffic of a plan (see history.store.Selection); the key of a flow is its id.

    `of_pids` is an SQL condition that limits it to some pids; only the finest level has pids.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        plan: Plan,
        host: Host | None = None,
        of_pids: str = "",
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
        self.start, self.end = plan.start, plan.end

    def sums(self) -> FlowSums:
        """Return the bytes by flow."""
        found: dict[Flow, tuple[int, int]] = {}
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            for flow, rx, tx in self._run(
                f"SELECT flow, sum(rx), sum(tx) FROM {table}"  # noqa: S608 - constants and question marks
                f" WHERE {key} IN (SELECT id FROM {parents}) {self._of_pids} GROUP BY flow",
                _bounds(piece),
            ):
                received, sent = checked.moved(rx, tx)
                before = found.get(checked.whole(flow), (0, 0))
                found[flow] = (before[0] + received, before[1] + sent)
        return found

    def ends(self, flows: Collection[Flow]) -> Ends:
        """Return the identity and remote of each flow; users have the names of this host."""
        programs: dict[int, Identity] = {}
        found: dict[Flow, tuple[Identity, Remote]] = {}
        self._run("CREATE TEMP TABLE IF NOT EXISTS asked (id INTEGER PRIMARY KEY)")
        self._run("DELETE FROM asked")
        self._connection.executemany("INSERT INTO asked VALUES (?)", ((flow,) for flow in flows))
        for flow, program, address, port, protocol, role in self._run(
            "SELECT flow.id, program, address, port, protocol, role FROM asked"
            " JOIN flow ON flow.id = asked.id JOIN remote ON remote.id = remote"
        ):
            if program not in programs:
                who = identity(self._connection, program, host=self._host)
                user = None if who.uid is None else user_name(who.uid)
                programs[program] = replace(who, user=user)
            found[flow] = (programs[program], checked.remote(protocol, role, port, address))
        return found

    def users(self) -> None:
        """See Selection."""

    def timeline(
        self, groups: Mapping[Flow, Flow] | None
    ) -> Iterator[tuple[float, Flow, int, int]]:
        """Yield (start, group, received, sent) of the flows in a group; None: all flows are in group 0."""
        if groups is not None:
            self._run(
                "CREATE TEMP TABLE IF NOT EXISTS chosen (id INTEGER PRIMARY KEY, grp INTEGER)"
            )
            self._run("DELETE FROM chosen")
            self._connection.executemany("INSERT INTO chosen VALUES (?, ?)", groups.items())
        group, join, by = (
            ("0", "", "start")
            if groups is None
            else ("grp", "JOIN chosen ON chosen.id = flow", "start, grp")
        )
        for piece in self._plan.pieces:
            key, parents = _parents(piece)
            table = "delta" if piece.level == 0 else "traffic"
            for start, of, rx, tx in self._run(
                f"SELECT start, {group}, sum(rx), sum(tx)"  # noqa: S608 - constants and question marks
                f" FROM (SELECT id AS parent, start FROM {parents}) JOIN {table} ON {key} = parent"
                f" {join} WHERE 1 {self._of_pids} GROUP BY {by}",
                _bounds(piece),
            ):
                yield checked.moment(start), of, *checked.moved(rx, tx)

    def coverage(self) -> Iterator[tuple[float, float, Loss]]:
        """Yield (start, seconds recorded, loss)."""
        for piece in self._plan.pieces:
            _, parents = _parents(piece)
            for start, seconds, loss in self._run(
                f"SELECT start, seconds, loss FROM {parents}",  # noqa: S608 - a constant
                _bounds(piece),
            ):
                yield checked.moment(start), checked.seconds(seconds), checked.loss(loss)


def _parents(piece: Piece) -> tuple[str, str]:
    """Return the column that refers to an interval or span, and the SQL of the intervals or spans."""
    return ("interval", _INTERVALS) if piece.level == 0 else ("span", _SPANS)


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
