"""Write deltas: as intervals, into totals that are closed already, and into the five-minute totals."""

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bwtop.history.calendar import FIVE_MINUTES, ceiling, floor
from bwtop.history.tiers import COARSEST, UNITS
from bwtop.model import containers
from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, is_loopback
from bwtop.model.ledger import CATEGORIES, category_of
from bwtop.sqlite import checked
from bwtop.sqlite.checked import DamagedError
from bwtop.sqlite.delta import Delta, Moved, SeenName, Who
from bwtop.sqlite.naming import NameWriter
from bwtop.sqlite.schema import pulse_columns
from bwtop.text.escape import printable

MAX_CACHED: Final = 100_000
"""Flow ids after which the cache forgets those it has not needed since the last time: about 23 MB.

It exceeds the flows of an interval, unless --max-flows is raised.  With a smaller cache every interval would look up all
of them again, which takes three times as long.
"""

CACHED_SECONDS: Final = 30.0
"""Seconds after which it does so in any case: a minute after a peak its memory is free again."""

_COLUMNS: Final = pulse_columns()
_ADD_FIVE_MINUTES: Final = (
    f"INSERT INTO pulse (start, seconds, {', '.join(_COLUMNS)})"  # noqa: S608 - our own names
    f" VALUES (?, ?{', ?' * len(_COLUMNS)}) ON CONFLICT DO UPDATE SET"
    f" seconds = seconds + excluded.seconds, {', '.join(f'{c} = {c} + excluded.{c}' for c in _COLUMNS)}"
)


@dataclass(slots=True)
class _KnownIds:
    """Ids of a process and of its flows."""

    process: int
    program: int
    flows: dict[Remote, int] = field(default_factory=dict)
    """Flows needed since the cache last forgot."""
    older: dict[Remote, int] = field(default_factory=dict)
    """Flows needed before, the next to be forgotten."""


@dataclass(frozen=True)
class Event:
    """An event that affects the totals: "clock", "sleep" or "dropped"."""

    time: float
    """UTC seconds."""
    kind: str
    amount: float = 0.0


class Store:
    """Writer of deltas into an open database."""

    def __init__(self, connection: sqlite3.Connection, *, cmdlines: bool = False) -> None:
        self.connection = connection
        self._cmdlines = cmdlines
        self._names = NameWriter(connection)
        self._known: dict[Who, _KnownIds] = {}
        self._cached = 0
        """Flows in the younger half of the cache."""
        self._forgot = time.monotonic()
        """The time at which the cache last forgot."""

    def begin(self) -> None:
        """Mark the processes of former recorders: they may have ended while no bwtop recorded."""
        self.connection.execute(
            "UPDATE process SET ended = -(SELECT coalesce(max(id), 0) FROM interval) WHERE ended IS NULL"
        )

    def number_on(self) -> None:
        """Raise the change counter above all numbers that a server has seen: the database may be a restored backup.

        The counter continues at the time in microseconds: there are fewer changes than microseconds.
        """
        self.connection.execute(
            "UPDATE spool SET changes = max(changes, ?)", (int(1e6 * time.time()),)
        )

    def append(self, deltas: Sequence[Delta], events: Iterable[Event] = ()) -> None:
        """Write deltas and events in one transaction; on an error write nothing and raise sqlite3.Error."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for event in events:
                self._run("INSERT INTO event (time, kind, amount) VALUES (?, ?, ?)", event)
            for delta in deltas:
                self._append(delta)
            self.connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def forget_unused(self) -> None:
        """Forget the ids of flows that were not needed for a while; call it from time to time."""
        if time.monotonic() >= self._forgot + CACHED_SECONDS:
            self._forget_unused()

    def forget(self) -> None:
        """Forget all ids: rows may have been deleted."""
        self._known.clear()
        self._names.forget()
        self._cached = 0

    def rollback(self) -> None:
        """Roll back, and forget the ids that the transaction assigned."""
        self.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _run(self, statement: str, event: Event) -> None:
        self.connection.execute(statement, (event.time, event.kind, event.amount))

    def _append(self, delta: Delta) -> None:
        interval = self.connection.execute(
            "INSERT INTO interval (start, seconds, loss) VALUES (?, ?, ?)",
            (delta.start, delta.seconds, pack_loss(delta.loss)),
        ).lastrowid
        rows = sorted(self._rows(delta).items())
        self._names.add(delta.names, self._program_of)
        self.connection.executemany(
            "INSERT INTO delta (interval, flow, process, rx, tx) VALUES (?, ?, ?, ?, ?)",
            ((interval, *ends, *moved) for ends, moved in rows),
        )
        self._add_late(delta, rows)
        self._add_to_five_minutes(delta)
        self._note_ends(delta.exited, interval)

    def _rows(self, delta: Delta) -> dict[tuple[int, int], Moved]:
        """Return the bytes by (flow, process)."""
        found: dict[tuple[int, int], Moved] = {}
        for who, remotes in delta.flows.items():
            known = self._known.get(who) or self._know(who)
            for remote, (rx, tx) in remotes.items():
                flow = known.flows.get(remote) or self._know_flow(known, remote)
                before = found.get((flow, known.process), (0, 0))
                found[flow, known.process] = (before[0] + rx, before[1] + tx)
        return found

    # Ids.

    def _know(self, who: Who) -> _KnownIds:
        key, identity = who
        program = self._program(identity)
        known = self._known[who] = _KnownIds(self._process(key, identity, program), program)
        return known

    def _program_of(self, seen: SeenName) -> int | None:
        """Return the program of the process that asked for a name; None: it is unknown."""
        if seen.identity and (known := self._known.get((seen.process, seen.identity))):
            return known.program
        if seen.identity:
            return self._program(seen.identity)
        return next(
            (ids.program for (key, _), ids in self._known.items() if key == seen.process), None
        )

    def _program(self, identity: Identity) -> int:
        values = (
            printable(identity.name),
            _maybe(_installed(identity.exe)),
            identity.uid,
            _maybe(identity.unit),
            _maybe(containers.storable(identity.container, identity.container_name)),
            _maybe(identity.pod),
            int(identity.kernel),
        )
        return _id(
            self.connection,
            "SELECT id FROM program WHERE name = ? AND exe IS ? AND uid IS ? AND unit IS ?"
            " AND container IS ? AND pod IS ? AND kernel = ?",
            "INSERT INTO program (name, exe, uid, unit, container, pod, kernel)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def _process(self, key: ProcessKey, identity: Identity, program: int) -> int:
        started = identity.started.timestamp() if identity.started else None
        cmdline = printable(identity.cmdline) if self._cmdlines else ""
        found = self.connection.execute(
            "SELECT id FROM process WHERE pid = ? AND start = ? AND exec = ? AND program = ? AND cmdline = ?",
            (key.stored_pid, key.start, key.exec, program, cmdline),
        ).fetchone()
        if found:
            self.connection.execute("UPDATE process SET ended = NULL WHERE id = ?", found)
            return int(found[0])
        added = self.connection.execute(
            "INSERT INTO process (pid, start, exec, started, program, cmdline) VALUES (?, ?, ?, ?, ?, ?)",
            (key.stored_pid, key.start, key.exec, started, program, cmdline),
        )
        return _given(added)

    def _know_flow(self, known: _KnownIds, remote: Remote) -> int:
        flow = known.older.pop(remote, None) or flow_id(self.connection, known.program, remote)
        if self._cached >= MAX_CACHED:
            self._forget_unused()
        self._cached += 1
        known.flows[remote] = flow
        return flow

    def _forget_unused(self) -> None:
        """Forget the flows that no delta has needed since the last call."""
        for known in self._known.values():
            known.older, known.flows = known.flows, {}
        self._cached, self._forgot = 0, time.monotonic()

    def _note_ends(self, exited: set[ProcessKey], interval: int | None) -> None:
        if not exited:
            return
        for who in [who for who in self._known if who[0] in exited]:
            self._cached -= len(self._known.pop(who).flows)
        self.connection.executemany(
            "UPDATE process SET ended = ? WHERE pid = ? AND start = ? AND exec = ? AND ended IS NULL",
            ((interval, key.stored_pid, key.start, key.exec) for key in exited),
        )

    # Totals that are closed already: the clock was set back, or the delta had to wait.

    def _add_late(self, delta: Delta, rows: Iterable[tuple[tuple[int, int], Moved]]) -> None:
        """Add a late delta to the closed spans, the coarsest first: a finer span must not reach beyond a coarser one."""
        bounds = (0.0, float("inf"))
        for level, closed, _ in reversed(levels(self.connection)):
            if delta.start >= closed:
                bounds = (closed, bounds[1])
                continue
            span, bounds = self._span_at(level, delta.start, bounds)
            self.connection.executemany(
                "INSERT INTO traffic VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " rx = rx + excluded.rx, tx = tx + excluded.tx",
                ((span, flow, *moved) for (flow, _), moved in rows),
            )
            before = self.connection.execute(
                "SELECT loss FROM span WHERE id = ?", (span,)
            ).fetchone()
            self.connection.execute(
                "UPDATE span SET seconds = seconds + ?, loss = ? WHERE id = ?",
                (delta.seconds, pack_loss(checked.loss(before[0]).plus(delta.loss)), span),
            )

    def _span_at(
        self, level: int, when: float, bounds: tuple[float, float]
    ) -> tuple[int, tuple[float, float]]:
        """Return the closed span that contains a time, with its bounds; create it between its neighbours if missing."""
        run = self.connection.execute
        before = run(
            "SELECT start, end, id FROM span WHERE level = ? AND start <= ? ORDER BY start DESC LIMIT 1",
            (level, when),
        ).fetchone()
        first, last = map(checked.moment, before[:2]) if before else (0.0, 0.0)
        if last > when:
            return before[2], (first, last)
        after, closed = run(
            "SELECT (SELECT min(start) FROM span WHERE level = :level AND start > :when),"
            " (SELECT closed FROM level WHERE level = :level)",
            {"level": level, "when": when},
        ).fetchone()
        after, closed = checked.maybe_moment(after), checked.moment(closed)
        start = max(floor(UNITS[level], when), last, bounds[0])
        end = min(ceiling(UNITS[level], when), closed, after or closed, bounds[1])
        made = run(
            "INSERT INTO span (level, start, end, seconds) VALUES (?, ?, ?, 0)",
            (level, start, end),
        )
        return _given(made), (start, end)

    def _add_to_five_minutes(self, delta: Delta) -> None:
        kinds: defaultdict[tuple[int, bool], list[int]] = defaultdict(lambda: [0, 0])
        for remotes in delta.flows.values():
            for (protocol, _, _, address), (rx, tx) in remotes.items():  # up to 65,536 a second
                moved = kinds[protocol, is_loopback(address)]
                moved[0] += rx
                moved[1] += tx
        sums = {of: [0, 0] for of in CATEGORIES}
        for (protocol, loopback), (rx, tx) in kinds.items():
            of_category = sums[category_of(protocol, loopback=loopback)]
            of_category[0] += rx
            of_category[1] += tx
        flat = [amount for both in sums.values() for amount in both]
        start = int(delta.start // FIVE_MINUTES) * FIVE_MINUTES
        self.connection.execute(_ADD_FIVE_MINUTES, (start, delta.seconds, *flat))


def flow_id(connection: sqlite3.Connection, program: int, remote: Remote) -> int:
    """Return the id of a flow; add the flow and its remote where they are missing."""
    end = _id(
        connection,
        "SELECT id FROM remote WHERE address = ? AND port = ? AND protocol = ? AND role = ?",
        "INSERT INTO remote (address, port, protocol, role) VALUES (?, ?, ?, ?)",
        (remote.address, remote.port, remote.protocol, remote.role),
    )
    return _id(
        connection,
        "SELECT id FROM flow WHERE program = ? AND remote = ?",
        "INSERT INTO flow (program, remote) VALUES (?, ?)",
        (program, end),
    )


def _id(
    connection: sqlite3.Connection,
    select: str,
    insert: str,
    values: tuple[str | int | bytes | None, ...],
) -> int:
    found = connection.execute(select, values).fetchone()
    return int(found[0]) if found else _given(connection.execute(insert, values))


def first_row(connection: sqlite3.Connection, statement: str, *values: float) -> tuple[Any, ...]:
    """Return the first row that a statement finds; () if it finds none."""
    found = connection.execute(statement, values).fetchone()
    return tuple(found) if found else ()


def levels(connection: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """Return (level, closed, kept) of the levels of the rollup, the finest first."""
    found = connection.execute(
        "SELECT level, closed, kept FROM level WHERE level BETWEEN 1 AND ? ORDER BY level",
        (COARSEST,),
    )
    rows = [
        (checked.whole(level), int(checked.moment(closed)), int(checked.moment(kept)))
        for level, closed, kept in found
    ]
    if len(rows) != COARSEST:
        raise DamagedError
    return rows


def pack_loss(loss: Loss) -> str | None:
    """Return the stored form of a loss; None: nothing was lost."""
    return json.dumps(loss.recorded) if any(loss.recorded) else None


def _given(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None, "it has inserted a row"
    return cursor.lastrowid


def _installed(exe: str | None) -> str | None:
    """Return the path of a program without the mark of a replaced file: an upgrade makes no other program of it.

    A memfd never had a file (memfd_create(2)).
    """
    if exe is None or exe.startswith("/memfd:"):
        return exe
    return exe.removesuffix(" (deleted)")


def _maybe(text: str | None) -> str | None:
    return None if text is None else printable(text)
