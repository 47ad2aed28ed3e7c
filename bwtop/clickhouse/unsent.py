"""Rows of a history that a server does not have yet, read in the order of their numbers and checked."""

import sqlite3
from typing import Any, Final, NamedTuple

from bwtop.clickhouse.spans import LAST
from bwtop.history.calendar import FIVE_MINUTES
from bwtop.identity.users import user_name
from bwtop.model.flows import is_loopback
from bwtop.sqlite import checked
from bwtop.sqlite.naming import NAMES
from bwtop.sqlite.schema import pulse_columns

Rows = list[tuple[Any, ...]]


class SpanQueries(NamedTuple):
    """SQL of intervals, or of closed spans."""

    spans: str
    """The spans after a number, in order: number, id, level, start, end, seconds, loss, version."""
    traffic: str
    """The rows of one span after a place, in order."""


def traffic(
    connection: sqlite3.Connection, kind: SpanQueries, span: int, after: tuple[int, int], count: int
) -> Rows:
    """Return up to `count` rows of an interval or span, after a flow and process."""
    found = map(_line, connection.execute(kind.traffic, (span, *after, count)))
    return [
        (*row[:_UID], _user(row[_UID]), *row[_UID:-2], int(is_loopback(row[-3])), *row[-2:])
        for row in found
    ]


def five_minutes(connection: sqlite3.Connection, after: int, now: float, count: int) -> Rows:
    """Return up to `count` five-minute totals after a change; the last value is the change."""
    found = connection.execute(_FIVES, (after, now - FIVE_MINUTES, now, count))
    return [_five(row) for row in found]


def events(connection: sqlite3.Connection, after: int, count: int) -> Rows:
    """Return up to `count` events after one; the first value is the event's number."""
    found = connection.execute(_EVENTS, (after, count))
    return [(number, whole, *checked.event(*event)) for number, whole, *event in found]


def names(connection: sqlite3.Connection, after: int, count: int) -> Rows:
    """Return up to `count` names of remotes after a change; the last value is the change."""
    return [_named(row) for row in connection.execute(_NAMED, (after, count))]


def _line(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check a row of traffic."""
    flow, process, pid, *who, protocol, role, port, address, rx, tx = row
    for value in (flow, process, pid):
        checked.whole(value)
    checked.program(tuple(who))
    checked.remote(protocol, role, port, address)
    checked.moved(rx, tx)
    return row


def _five(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check a five-minute total."""
    start, seconds, *amounts = row
    checked.moment(start)
    checked.seconds(seconds)
    for amount in amounts:
        checked.whole(amount)
    return row


def _named(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check a name; a program that is missing in a damaged file is unknown."""
    number, program, *who, address, port, name, source, first, last, changed = row
    for value in (number, changed):
        checked.whole(value)
    checked.named((program, address, port, name, source, first, last))
    known = who[0] is not None
    who = list(checked.program(tuple(who))) if known else ["", "", -1, "", "", "", 0]
    place, seen = (-1 if port is None else port), (min(int(first), LAST), min(int(last), LAST))
    return (number, int(known), *who, address, place, name, NAMES[source], *seen, changed)


def _user(uid: int) -> str:
    return (user_name(uid) or "") if uid >= 0 else ""


_UID: Final = 5
"""Index of the uid in the rows below; the address is the last value before the bytes."""

_ENDS: Final = (
    "name, coalesce(exe, ''), coalesce(uid, -1), coalesce(unit, ''), coalesce(container, ''), coalesce(pod, ''),"
    " kernel, protocol, role, port, address, rx, tx"
)
_JOINS: Final = "JOIN flow ON flow.id = flow JOIN program ON program.id = flow.program JOIN remote ON remote.id = remote"

INTERVALS: Final = SpanQueries(
    "SELECT id, id, 0, start, start + seconds, seconds, loss, 0 FROM interval"
    " WHERE id > ? ORDER BY id LIMIT ?",
    f"SELECT flow, process, pid, {_ENDS} FROM delta JOIN process ON process.id = process {_JOINS}"
    " WHERE interval = ? AND (flow, process) > (?, ?) ORDER BY flow, process LIMIT ?",
)
SUMS: Final = SpanQueries(
    "SELECT changed, id, level, start, end, seconds, loss, changed FROM span"
    " WHERE changed > ? AND level > 0 ORDER BY changed LIMIT ?",
    f"SELECT flow, 0, 0, {_ENDS} FROM traffic {_JOINS}"
    " WHERE span = ? AND (flow, 0) > (?, ?) ORDER BY flow LIMIT ?",
)

_FIVES: Final = (
    f"SELECT min(start, {LAST}), seconds, {', '.join(pulse_columns())}, changed FROM pulse WHERE changed > ?"
    " AND NOT (start > ? AND start <= ? AND changed = (SELECT max(changed) FROM pulse))"
    " ORDER BY changed LIMIT ?"
)
"""Totals but that of the current five minutes, which each batch would have otherwise: it is the last that has changed.

A clock may have been set: totals of the future, and of these five minutes, that change no more are sent.
"""
_NAMED: Final = (
    "SELECT named.id, program, program.name, coalesce(exe, ''), coalesce(uid, -1), coalesce(unit, ''),"
    " coalesce(container, ''), coalesce(pod, ''), kernel, address, port, named.name, source, first, last, changed"
    " FROM named LEFT JOIN program ON program.id = program WHERE changed > ? ORDER BY changed LIMIT ?"
)
_EVENTS: Final = (
    f"SELECT id, min(cast(time AS INTEGER), {LAST}), time, kind, amount FROM event"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
