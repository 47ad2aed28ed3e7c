"""Check the values of stored rows: a damaged or hostile file can hold anything in any column."""

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from bwtop.model.flows import Loss, Remote

T = TypeVar("T")

EARLIEST: Final = -1e9
LATEST: Final = 253e9
"""Bounds of a time, in UTC seconds: from 1938, as a clock may be wrong, to 9987, as dates end with 9999."""

LONGEST: Final = 1e9
"""Most seconds that an interval, or a month, can have: 30 years."""

MOST: Final = (1 << 63) - 1
"""Largest integer that SQLite stores."""


class DamagedError(sqlite3.DatabaseError):
    """A stored value is not one that bwtop writes; its code is that of SQLite for a damaged file."""

    def __init__(self) -> None:
        super().__init__("the history is damaged")
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        self.sqlite_errorname = "SQLITE_CORRUPT"


def is_damage(error: Exception) -> bool:
    """Return whether an error means that the file is damaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


# Each function returns the value, or raises DamagedError.


def decoded(stored: bytes) -> str:
    """Return stored text (see sqlite3.Connection.text_factory)."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        raise DamagedError from None


def row(cursor: sqlite3.Cursor) -> tuple[Any, ...]:
    """Return the next row, which must exist."""
    found: tuple[Any, ...] | None = cursor.fetchone()
    if found is None:
        raise DamagedError
    return found


def text(value: object) -> str:
    """Check a text."""
    if not isinstance(value, str):
        raise DamagedError
    return value


def maybe_text(value: object) -> str | None:
    """Check a text or NULL."""
    return None if value is None else text(value)


def whole(value: object, most: int = MOST, least: int = 0) -> int:
    """Check an integer."""
    if not isinstance(value, int) or not least <= value <= most:
        raise DamagedError
    return value


def known(value: object, values: Mapping[int, T]) -> T:
    """Return the value that a number stands for."""
    if not isinstance(value, int) or value not in values:
        raise DamagedError
    return values[value]


def maybe_whole(value: object, most: int = MOST) -> int | None:
    """Check an integer or NULL."""
    return None if value is None else whole(value, most)


def named(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check the columns of a name: program, address, port, name, source, first, last."""
    program, address, port, name, source, first, last = values
    remote(0, 0, maybe_whole(port, 65535) or 0, address)
    maybe_whole(program)
    text(name)
    whole(source, _LAST_SOURCE)
    moment(first)
    moment(last)
    return values


_LAST_SOURCE: Final = 3
"""The last of naming.SOURCES."""


def number(value: object, most: float = float(MOST), least: float = 0.0) -> float:
    """Check a number: neither infinite nor out of bounds."""
    if not isinstance(value, (int, float)) or not least <= value <= most or math.isnan(value):
        raise DamagedError
    return value


def moment(value: object) -> float:
    """Check a time in UTC seconds."""
    return number(value, LATEST, EARLIEST)


def seconds(value: object) -> float:
    """Check measured seconds."""
    return number(value, LONGEST)


def maybe_moment(value: object) -> float | None:
    """Check a time or NULL."""
    return None if value is None else moment(value)


def moved(rx: object, tx: object) -> tuple[int, int]:
    """Check bytes."""
    return whole(rx), whole(tx)


def remote(protocol: object, role: object, port: object, address: object) -> Remote:
    """Check the columns of a remote."""
    if not isinstance(address, bytes) or len(address) != 16:
        raise DamagedError
    return Remote(whole(protocol, 255), whole(role, 1), whole(port, 65535), address)


def program(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check the columns of a program: name, exe, uid, unit, container, pod, kernel."""
    name, exe, uid, unit, container, pod, kernel = values
    text(name)
    for value in (exe, unit, container, pod):
        maybe_text(value)
    if uid is not None:
        whole(uid, (1 << 32) - 1, -1)
    whole(kernel, 1)
    return values


def event(time: object, kind: object, amount: object) -> tuple[float, str, float]:
    """Check the columns of an event; unless it counts bytes, its amount is in seconds."""
    most = float(MOST) if kind == "dropped" else LATEST
    return moment(time), text(kind), number(amount, most, -most)


def loss(stored: object) -> Loss:
    """Return the loss that store.pack_loss() has stored."""
    if stored is None:
        return Loss()
    try:
        return Loss(*(whole(value) for value in json.loads(text(stored))))
    except (ValueError, TypeError, RecursionError):
        raise DamagedError from None
