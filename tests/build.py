"""Makers of processes, remotes, samples and intervals for tests."""

import ipaddress
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from bwtop.history.calendar import midnight
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.filter_fields import FIELDS, HOST
from bwtop.model.flows import (
    TCP,
    UDP,
    UNKNOWN_ADDRESS,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    Role,
)
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import FlowTraffic, Sample
from bwtop.model.typed import parse
from bwtop.sqlite import connections, schema
from bwtop.view.interval import Interval, Intervals
from bwtop.view.order import Order

NOW: Final = datetime(2026, 11, 23, 8, 0, 1, tzinfo=UTC)

CONTROLS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Characters that may never reach a terminal: C0, C1, marks of zero width or direction, line separators, surrogates."""

HOSTILE: Final[tuple[str, ...]] = (
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "two\nlines\r\x0b\x0c\x85",
    "\u202egnp.exe\u2066\u200f",
    "line\u2028paragraph\u2029",
    "\udcff\ud800",
    "日本語のとても長いプロセス名",
    "e\u0301\u0301\u0301" * 20,
    "comma,quote\"apostrophe'tab\t",
    "x" * 1000,
    "漢" * 1000,
    "",
)
"""Names of processes and hosts that somebody may choose."""


def stable_id(value: object) -> str | None:
    """Return a value as the name of a test; None if it is another in each process, as the order of a set is.

    Processes that share the tests between them (pytest-xdist) must have the same names.
    """
    text = repr(value)
    return None if "frozenset({" in text or " at 0x" in text else text


def packed(address: str) -> bytes:
    """Return an address as flows have it; "*" is the unknown one."""
    if address == "*":
        return UNKNOWN_ADDRESS
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def key(pid: int) -> ProcessKey:
    """Return a process that started `pid` seconds after the boot."""
    return ProcessKey(pid * 10**9, pid)


def typed(text: str) -> Filter:
    """Return the filter of a typed text, which may have any field."""
    return parse(text, (*FIELDS, HOST))


def remote(
    address: str = "192.0.2.1", port: int = 443, protocol: int = TCP, role: Role = Role.CLIENT
) -> Remote:
    """Return the far end of a flow, by default an HTTPS server."""
    return Remote(protocol, role, port, packed(address))


def sample(
    traffic: FlowTraffic | None = None,
    *,
    elapsed: float = 1.0,
    identities: dict[ProcessKey, Identity] | None = None,
    exited: Iterable[ProcessKey] = (),
    loss: Loss = Loss(),
) -> Sample:
    return Sample(NOW, elapsed, traffic or {}, identities or {}, set(exited), loss)


def interval(
    traffic: FlowTraffic | None = None,
    *,
    elapsed: float = 1.0,
    identities: dict[ProcessKey, Identity] | None = None,
    loss: Loss = Loss(),
    names: RemoteNames | None = None,
    order: Order = Order(),
    limit: int | None = None,
) -> Interval:
    """Return the interval of a first reading."""
    first = sample(traffic, elapsed=elapsed, identities=identities, loss=loss)
    return Intervals(EVERYTHING, names or RemoteNames(), order, limit).advance(first)


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until a condition is true; return False if it is not within 30 seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def pass_midnight(seconds: float = 900.0) -> None:
    """Wait for midnight if it comes within so many seconds: what a test has made for yesterday would be of another day."""
    left = midnight(date.today() + timedelta(days=1)) - time.time()
    if left < seconds:
        time.sleep(left)


KEYS: Final = tuple(ProcessKey(start, pid) for pid in (1, 2) for start in (10, 20))
REMOTES: Final = (
    remote(),
    remote("192.0.2.2", 53, UDP),
    remote("2001:db8::1", 22, TCP, Role.SERVER),
    remote("127.0.0.1", 8080),
    remote("*", 0, UDP),
)


def open_writer(path: Path, mode: int) -> sqlite3.Connection:
    """Open a history to write, as a recorder does: create it if it is missing, and migrate it."""
    connection = connections.connect_writer(path, mode)
    try:
        schema.migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection
