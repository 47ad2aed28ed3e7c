"""Print intervals on standard output: as a table, as JSON lines or as CSV."""

import csv
import json
import shutil
import socket
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bwtop.model.networks import INTERNET, current
from bwtop.model.rates import Counted
from bwtop.text import units as fmt
from bwtop.text.escape import cell, count, fit, printable
from bwtop.view.column import Column, Value, iso
from bwtop.view.columns import ALL_COLUMNS, PROCESS_COLUMNS, REMOTE_COLUMNS
from bwtop.view.interval import Interval
from bwtop.view.rows import Branch

SCHEMA: Final = "bwtop.batch/1"


@dataclass(frozen=True)
class Layout:
    """The requested layout of intervals."""

    backend: str = ""
    """Backend that measured the intervals; empty: another bwtop measures."""
    bits: bool = False
    origin: str = ""
    """Source of the rows of many hosts, for headings; empty: the rows are of this host."""
    width: int | None = None
    """Width of a table in cells; None: that of the terminal."""

    @property
    def columns(self) -> tuple[Column[Branch], ...]:
        """Columns of processes."""
        return ALL_COLUMNS if self.origin else PROCESS_COLUMNS

    @property
    def source(self) -> str:
        """The backend, or where the intervals of another bwtop come from, as JSON and headings name it."""
        return self.backend or ("clickhouse" if self.origin else "history")


class Output(Protocol):
    """Takes text, and passes it on at flush()."""

    def write(self, text: str, /) -> int:
        """Take a text; return its length."""

    def flush(self) -> None:
        """Pass on all that was taken."""


class JsonWriter:
    """Writer of JSON lines: one object per interval."""

    def __init__(self, out: Output, layout: Layout) -> None:
        self._out = out
        self._layout = layout
        self._host = layout.origin or socket.gethostname()

    def write(self, interval: Interval) -> None:
        """Write one line.  json escapes everything beyond ASCII, control characters included.

        json.dumps() makes the line at once: json.dump(), which writes in pieces, takes four times as long.
        """
        found = document(
            interval,
            backend=self._layout.source,
            host=self._host,
            columns=self._layout.columns,
        )
        self._out.write(json.dumps(found, separators=(",", ":")) + "\n")


def document(
    interval: Interval,
    *,
    backend: str,
    host: str,
    columns: tuple[Column[Branch], ...] = PROCESS_COLUMNS,
) -> dict[str, Any]:
    """Return the JSON document of an interval; `columns` name the fields of processes."""
    loss = interval.loss
    return {
        "schema": SCHEMA,
        "time": iso(interval.time),
        "interval": round(interval.elapsed, 4),
        "backend": backend,
        "host": host,
        "lost": {
            "flows": loss.spilled,
            "bytes": loss.spilled_bytes,
            "unattributed_bytes": loss.unattributed_bytes,
            "unnamed": loss.unnamed,
            "events": loss.missed_events,
            "names": loss.unheard,
        },
        "total": {"rx": interval.counted.rx, "tx": interval.counted.tx},
        "networks": by_network(interval.networks),
        "processes": [
            {
                **_fields(columns, process),
                "remotes": [_fields(REMOTE_COLUMNS, far) for far in interval.remotes(process)],
            }
            for process in interval.processes
        ],
    }


def by_network(moved: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    """Return bytes by network as JSON has them: internet always, and others that moved any."""
    listed = [name for name in current().names if name == INTERNET or name in moved]
    amounts = {name: moved.get(name, (0, 0)) for name in listed}
    return {name: {"rx": rx, "tx": tx} for name, (rx, tx) in amounts.items()}


def _fields(columns: tuple[Column[Any], ...], row: Any) -> dict[str, Any]:
    return {column.id: column.get(row) for column in columns if column.exported}


class CsvWriter:
    """Writer of CSV: a header, then one line per process and remote; byte columns are of the remote."""

    def __init__(
        self, out: Output, layout: Layout, clean: Callable[[str], str] = printable
    ) -> None:
        """Write the header; `clean` makes text harmless for the program that reads the cells."""
        self._writer = csv.writer(out, lineterminator="\n")
        self._clean = clean
        self._remote = [column for column in REMOTE_COLUMNS if column.exported]
        ids = {column.header for column in self._remote}
        self._process = [c for c in layout.columns if c.exported and c.id not in ids]
        headers = [*(c.header for c in self._process), *(c.header for c in self._remote)]
        self._writer.writerow(["time", "interval", *headers])

    def write(self, interval: Interval) -> None:
        """Write the lines of an interval."""
        when = [iso(interval.time), round(interval.elapsed, 4)]
        for process in interval.processes:
            left = [cell(column.get(process), self._clean) for column in self._process]
            for remote in interval.remotes(process):
                right = [cell(column.get(remote), self._clean) for column in self._remote]
                self._writer.writerow([*when, *left, *right])


@dataclass(frozen=True)
class _Number:
    """A numeric column of the table."""

    title: str
    width: int
    get: Callable[[Counted], float]
    is_rate: bool = False


_NUMBERS: Final = (
    _Number("RX/s", 12, lambda c: c.rx_rate, is_rate=True),
    _Number("TX/s", 12, lambda c: c.tx_rate, is_rate=True),
    _Number("RX TOTAL", 10, lambda c: c.rx_total),
    _Number("TX TOTAL", 10, lambda c: c.tx_total),
)
_RATES_ONLY: Final = _NUMBERS[:2]

_NO_TERMINAL: Final = 132
"""Width of a table in a file or pipe, unless COLUMNS is set."""

_HOST_WIDTH: Final = 13
_HOST_MOST: Final = 33
_PID_WIDTH: Final = 7  # kernel.pid_max is 4194304 at most
_USER_WIDTH: Final = 8
_NAME_WIDTH: Final = 15  # TASK_COMM_LEN without its NUL
_INDENT: Final = "    "
_WITH_USER: Final = _PID_WIDTH + 1 + _USER_WIDTH + 1 + _NAME_WIDTH
_NET_WIDTH: Final = 11
_WITH_NET: Final = 58  # the longest remote by IPv6 address, indented

(_NET_OF_PROCESS,) = (column for column in PROCESS_COLUMNS if column.id == "net")
(_NET_OF_REMOTE,) = (column for column in REMOTE_COLUMNS if column.id == "net")


class TableWriter:
    """Writer of a table: a line per process, its remotes indented below, a line of totals.

    Widths come from the terminal, never from the content.  A narrow terminal drops the networks first, then the totals,
    then the user.
    """

    def __init__(self, out: Output, layout: Layout) -> None:
        self._out = out
        self._layout = layout

    def write(self, interval: Interval) -> None:
        """Write the table of an interval, and an empty line after it."""
        width = self._layout.width or shutil.get_terminal_size((_NO_TERMINAL, 24)).columns
        self._host = _HOST_WIDTH if self._layout.origin else 0
        wide = _room(width, _NUMBERS) - self._host >= _WITH_USER
        self._numbers = _NUMBERS if wide else _RATES_ONLY
        self._left = max(_room(width, self._numbers), 1)
        self._net = wide and self._left - 1 - _NET_WIDTH >= _WITH_NET
        if self._net:
            self._left -= 1 + _NET_WIDTH
        if self._host:
            self._host = max(_HOST_WIDTH, min(self._left - _WITH_USER, _HOST_MOST))
        for line in self._lines(interval):
            self._out.write(fit(line, width).rstrip() + "\n")
        for words in fmt.losses(interval.loss):
            for line in textwrap.wrap(f"lost: {words}", width):
                self._out.write(line + "\n")
        self._out.write("\n")

    def _lines(self, interval: Interval) -> Iterator[str]:
        when = interval.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        origin = self._layout.origin or f"backend {self._layout.source}"
        yield f"{when}  {interval.elapsed:.1f} s  {origin}"
        yield self._line(
            self._head("HOST", "PID", "USER", "PROCESS"),
            "NET",
            (fit(n.title, n.width, ">") for n in self._numbers),
        )
        for process in interval.processes:
            net = _NET_OF_PROCESS.get(process)
            yield self._line(self._process(process), net, self._cells(process.counted))
            for far in interval.remotes(process):
                label = fmt.remote(far.remote, far.names, self._left - len(_INDENT))
                net = _NET_OF_REMOTE.get(far)
                yield self._line(_INDENT + label, net, self._cells(far.counted))
        shown, number = len(interval.processes), interval.number
        hidden = f" (showing {shown})" if shown < number else ""
        total = f"TOTAL  {count(number, 'process')}{hidden}"
        yield self._line(total, "", self._cells(interval.counted))

    def _line(self, left: str, net: Value, numbers: Iterable[str]) -> str:
        texts = [fit(left, self._left)]
        if self._net:
            texts.append(fit("-" if net is None else printable(str(net)), _NET_WIDTH, ">"))
        return " ".join([*texts, *numbers])

    def _cells(self, counted: Counted) -> Iterator[str]:
        for number in self._numbers:
            value = number.get(counted)
            text = fmt.rate(value, bits=self._layout.bits) if number.is_rate else fmt.size(value)
            yield fit(text, number.width, ">")

    def _head(self, host: str, pid: str, user: str, name: str) -> str:
        parts = [fit(host, self._host - 1)] if self._host else []
        parts.append(fit(pid, _PID_WIDTH, ">"))
        if self._left - self._host >= _WITH_USER:
            parts.append(fit(user, _USER_WIDTH))
        return " ".join([*parts, name])

    def _process(self, row: Branch) -> str:
        identity = row.identity
        host = printable(identity.host.label) if identity.host else ""
        name = printable(f"[{identity.name}]" if identity.kernel else identity.name)
        if row.pid is None:
            return self._head(host, "-", "-", name)
        user = identity.user or ("-" if identity.uid is None else str(identity.uid))
        return self._head(host, str(row.pid), printable(user), name)


def _room(width: int, numbers: tuple[_Number, ...]) -> int:
    """Return the cells that remain left of the numbers."""
    return width - sum(1 + number.width for number in numbers)


class Writer(Protocol):
    """A writer of intervals."""

    def write(self, interval: Interval) -> None:
        """Write one interval."""


WRITERS: Final[dict[str, Callable[[Output, Layout], Writer]]] = {
    "table": TableWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
}
"""Writers by format; values.FORMATS has the names too, so that flags are parsed without this module."""


def run(intervals: Iterable[Interval], form: str, layout: Layout, out: Output) -> None:
    """Write intervals until they end, each flushed at once."""
    writer = WRITERS[form](out, layout)
    for interval in intervals:
        writer.write(interval)
        out.flush()
