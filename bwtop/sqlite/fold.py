"""Fold the remotes of a span: each program keeps its largest, the rest becomes `*`; sums stay exact."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heappush, heapreplace
from typing import Any, Final

from bwtop.model.flows import LOOPBACK_V4, LOOPBACK_V6, UNKNOWN_ADDRESS, Remote, nowhere
from bwtop.sqlite import checked
from bwtop.sqlite.delta import Moved, add
from bwtop.sqlite.store import flow_id

ROWS_AT_ONCE: Final = 2048
"""Rows that one piece of work reads."""

RANKED_AT_ONCE: Final = 100_000
"""Largest number of ranked remotes in memory: about 10 MB.  With more than these to keep, programs take turns."""

_NOWHERE: Final = (UNKNOWN_ADDRESS, LOOPBACK_V4, LOOPBACK_V6)
"""Addresses that flows.nowhere() leaves."""

_ROWS: Final = (
    "traffic JOIN flow ON flow.id = traffic.flow JOIN remote ON remote.id = remote"
    " WHERE span = ? AND traffic.flow > ? AND NOT (port = 0 AND address IN (?, ?, ?))"
    " ORDER BY traffic.flow LIMIT ?"
)

_Rank = tuple[float, int]
"""Bytes and negated id of a flow: of equal flows the older one is larger."""


def fold(
    connection: sqlite3.Connection, span: int, most: int, note_used: Callable[[int], None]
) -> Iterator[None]:
    """Leave each program its `most` largest remotes in a span; yield after each short piece of work.

    `note_used` is called with each flow that gets the rest.
    """
    counts: Counter[int] = Counter()
    for rows in _rows(connection, span, "NULL"):
        counts.update(program for _, program, _ in rows)
        yield
    crowded = sorted(program for program, count in counts.items() if count > most)
    at_once = max(RANKED_AT_ONCE // most, 1)
    for first in range(0, len(crowded), at_once):
        largest: dict[int, list[_Rank]] = {p: [] for p in crowded[first : first + at_once]}
        for rows in _rows(connection, span, "rx + tx"):
            _rank(largest, rows, most)
            yield
        least = {program: ranks[0] for program, ranks in largest.items() if ranks}
        for rows in _rows(connection, span, "rx, tx, protocol, role, port, address"):
            for flow in _merge(connection, span, least, rows):
                note_used(flow)
            yield


def _rows(connection: sqlite3.Connection, span: int, columns: str) -> Iterator[list[Any]]:
    """Yield (flow, program, columns) of the rows with a remote, some at a time."""
    after = -1
    while found := connection.execute(
        f"SELECT traffic.flow, program, {columns} FROM {_ROWS}",  # noqa: S608 - our own names
        (span, after, *_NOWHERE, ROWS_AT_ONCE),
    ).fetchall():
        yield found
        after = found[-1][0]


def _rank(largest: dict[int, list[_Rank]], rows: Sequence[Any], most: int) -> None:
    """Keep the `most` largest flows of each program, as a heap."""
    for flow, program, amount in rows:
        ranks = largest.get(program)
        if ranks is None:
            continue
        rank = (checked.number(amount), -checked.whole(flow))
        if len(ranks) < most:
            heappush(ranks, rank)
        elif rank > ranks[0]:
            heapreplace(ranks, rank)


def _merge(
    connection: sqlite3.Connection, span: int, least: dict[int, _Rank], rows: Sequence[Any]
) -> list[int]:
    """Move the bytes of flows below the least that their program keeps to its `*`; return the flows of these."""
    merged: list[tuple[int, int]] = []
    sums: dict[int, dict[Remote, Moved]] = {}
    for flow, program, rx, tx, *place in rows:
        moved = checked.moved(rx, tx)
        if program in least and (sum(moved), -flow) < least[program]:
            merged.append((span, flow))
            add(sums.setdefault(program, {}), nowhere(checked.remote(*place)), moved)
    connection.executemany("DELETE FROM traffic WHERE span = ? AND flow = ?", merged)
    rest = [
        (span, flow_id(connection, program, remote), *checked.moved(*moved))
        for program, remotes in sums.items()
        for remote, moved in remotes.items()
    ]
    connection.executemany(
        "INSERT INTO traffic VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " rx = rx + excluded.rx, tx = tx + excluded.tx",
        rest,
    )
    return [flow for _, flow, *_ in rest]
