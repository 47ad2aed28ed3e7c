"""All columns, one row each; the screen, sorting, tables, JSON and CSV use this table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from bwtop.model.flows import Role, format_address, is_loopback, protocol_name
from bwtop.model.geography import current
from bwtop.model.rates import Counted
from bwtop.text.invalid import invalid
from bwtop.view.rows import Branch, Leaf
from bwtop.view.rows import Row as AnyRow

Value = str | int | float | bool | None

Row = TypeVar("Row", contravariant=True)


class CellKind(StrEnum):
    """The way the full screen draws a value."""

    TEXT = "text"
    """Texts are left of all others; the name of a remote spans all of them."""
    NUMBER = "number"
    SIZE = "size"
    RATE = "rate"
    SHARE = "share"
    """The share of the rate in that of all processes."""
    GRAPH = "graph"
    """The rates of the last intervals."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the full screen; its width never depends on its content."""

    title: str
    """Title; {down} and {up} stand for the symbols of the directions."""
    width: int
    """Cells; the minimum if the column grows."""
    _: KW_ONLY
    place: int
    """Columns are in this order from left to right, texts first."""
    rank: int
    """Columns appear in this order as the terminal gets wider."""
    kind: CellKind = CellKind.TEXT
    right: bool = False
    """True if the content is aligned to the right."""
    grows: int = 0
    """Its share of the spare cells."""
    first: int = 0
    """Spare cells that it gets before the others; those of the lowest rank come first."""
    most: int = 0
    """Its maximum in cells: with a wider gap the eye loses the line on the way to the numbers."""
    groups: bool = False
    """True for a text that rows of groups have; the other texts are not shown while rows are grouped."""
    id: str = ""
    """Name in configuration files; empty: the id of the column."""
    help: str = ""
    """Help; empty: that of the column."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column; its `id` never changes once released."""

    id: str
    help: str
    get: Callable[[Row], Value]
    descending: bool = False
    """True if it is sorted with the largest values first."""
    exported: bool = True
    """True if JSON and CSV have it; the others are sums of exported columns, or values of remotes."""
    cells: tuple[Cell, ...] = ()
    """Its columns in the full screen."""
    in_csv: str = ""
    """Its header in CSV, where a column of processes has its id; rows are not sorted by it."""

    @property
    def header(self) -> str:
        """Return its header in CSV."""
        return self.in_csv or self.id


def iso(time: datetime | None) -> str | None:
    """Return a time in UTC with milliseconds, as ISO 8601."""
    return None if time is None else time.isoformat(timespec="milliseconds")


def thousandths(number: float) -> float:
    """Round rates and durations to a thousandth: more digits would be noise of the clock."""
    return round(number, 3)


_NUMBERS: Final[tuple[Column[AnyRow], ...]] = (
    Column("rx", "bytes received in the interval", lambda r: r.counted.rx, descending=True),
    Column("tx", "bytes sent in the interval", lambda r: r.counted.tx, descending=True),
    Column(
        "rx_rate",
        "bytes received per second",
        lambda r: thousandths(r.counted.rx_rate),
        descending=True,
        cells=(Cell("{down}/s", 10, place=7, rank=1, kind=CellKind.RATE, right=True),),
    ),
    Column(
        "tx_rate",
        "bytes sent per second",
        lambda r: thousandths(r.counted.tx_rate),
        descending=True,
        cells=(Cell("{up}/s", 10, place=8, rank=2, kind=CellKind.RATE, right=True),),
    ),
    Column(
        "rx_total",
        "bytes received since bwtop started",
        lambda r: r.counted.rx_total,
        descending=True,
        cells=(Cell("{down} total", 10, place=9, rank=4, kind=CellKind.SIZE, right=True),),
    ),
    Column(
        "tx_total",
        "bytes sent since bwtop started",
        lambda r: r.counted.tx_total,
        descending=True,
        cells=(Cell("{up} total", 10, place=10, rank=5, kind=CellKind.SIZE, right=True),),
    ),
    Column(
        "rate",
        "bytes per second, both directions",
        lambda r: r.counted.rx_rate + r.counted.tx_rate,
        descending=True,
        exported=False,
        cells=(
            Cell(
                "TOP REMOTE",
                24,
                place=4,
                rank=8,
                grows=3,
                most=56,
                groups=True,
                id="top",
                help="remote with the highest rate, its share, and how many more there are",
            ),
            Cell(
                "LAST 10",
                10,
                place=5,
                rank=9,
                kind=CellKind.GRAPH,
                grows=4,
                first=10,
                most=60,
                id="graph",
                help="traffic of the last intervals, in the colour of the direction with more; one scale for all rows",
            ),
            Cell(
                "SHARE",
                6,
                place=11,
                rank=7,
                kind=CellKind.SHARE,
                right=True,
                id="share",
                help="share of the current traffic",
            ),
        ),
    ),
    Column(
        "total",
        "bytes since bwtop started, both directions",
        lambda r: r.counted.rx_total + r.counted.tx_total,
        descending=True,
        exported=False,
    ),
)


def _pid(row: Branch) -> int:
    """Return the pid, 0 if unknown; of a group the number of its living processes, which the screen shows in its place."""
    return row.living if row.process is None else row.pid or 0


NET_HELP: Final = (
    "network of the remote: internet, lan, multicast, loopback, or a name of the configuration"
)

ASN_HELP: Final = "autonomous system of the remote, with --asn-db"
COUNTRY_HELP: Final = "country of the remote, with --country-db"


def _of_busiest(row: Branch, of: Callable[[bytes], str | None]) -> str | None:
    """Return a property of the remote that moved most bytes; None: there is no remote."""
    first = max(row.all_flows(), key=lambda flow: flow.rx + flow.tx, default=None)
    return of(first.remote.address) if first else None


def _net(row: Branch) -> str | None:
    """Return the class that moved most bytes, and how many other ones there are; None: it has no remotes."""
    sums: dict[str, int] = {}
    for flow in row.all_flows():
        sums[flow.net] = sums.get(flow.net, 0) + flow.rx + flow.tx
    if not sums:
        return None
    name = max(sums, key=lambda net: (sums[net], net))
    return f"{name} +{len(sums) - 1}" if len(sums) > 1 else name


PROCESS_COLUMNS: Final[tuple[Column[Branch], ...]] = (
    Column(
        "pid",
        "process id; 0 if the process is unknown",
        _pid,
        cells=(Cell("PID", 8, place=0, rank=3, right=True, groups=True),),
    ),
    Column("start", "start time of the process", lambda r: iso(r.identity.started)),
    Column(
        "name",
        "process name, at most 15 bytes",
        lambda r: r.identity.name,
        cells=(
            Cell(
                "PROCESS",
                16,
                place=2,
                rank=0,
                grows=3,
                first=8,
                most=48,
                groups=True,
                id="process",
                help="process name or command line; remotes below",
            ),
        ),
    ),
    Column("exe", "full path of the program", lambda r: r.identity.exe),
    Column("cmdline", "command line, at most 256 bytes", lambda r: r.identity.cmdline),
    Column("uid", "effective user id", lambda r: r.identity.uid),
    Column(
        "user",
        "name of the effective user",
        lambda r: r.identity.user,
        cells=(Cell("USER", 8, place=1, rank=6),),
    ),
    Column(
        "unit",
        "systemd unit",
        lambda r: r.identity.unit,
        cells=(
            Cell("UNIT", 16, place=3, rank=10, grows=2, most=32, help="container or systemd unit"),
        ),
    ),
    Column("container", "container, as runtime:id", lambda r: r.identity.container),
    Column("container_name", "name of the container", lambda r: r.identity.container_name),
    Column("image", "image of the container", lambda r: r.identity.image),
    Column("pod", "uid of the Kubernetes pod", lambda r: r.identity.pod),
    Column("kernel", "true for a kernel thread", lambda r: r.identity.kernel),
    Column(
        "net",
        NET_HELP,
        _net,
        exported=False,
        cells=(Cell("NET", 11, place=6, rank=11, kind=CellKind.NUMBER, right=True),),
    ),
    Column(
        "asn",
        ASN_HELP,
        lambda r: _of_busiest(r, current().asn),
        exported=False,
        cells=(Cell("AS", 24, place=13, rank=13, kind=CellKind.NUMBER),),
    ),
    Column(
        "country",
        COUNTRY_HELP,
        lambda r: _of_busiest(r, current().country),
        exported=False,
        cells=(Cell("COUNTRY", 8, place=12, rank=12, kind=CellKind.NUMBER),),
    ),
    *_NUMBERS,
)

HOST_COLUMNS: Final[tuple[Column[Branch], ...]] = (
    Column(
        "hostname",
        "name of the host, with --from",
        lambda r: r.identity.host and r.identity.host.name,
        cells=(
            Cell(
                "HOST",
                12,
                place=0,
                rank=3,
                grows=2,
                first=8,
                most=40,
                groups=True,
                id="host",
                help="host of the process",
            ),
        ),
    ),
    Column(
        "host_id", "id of the host, with --from", lambda r: r.identity.host and r.identity.host.id
    ),
)
"""The first columns of rows of several hosts."""

ALL_COLUMNS: Final = (*HOST_COLUMNS, *PROCESS_COLUMNS)
"""The columns of processes; rows are sorted by these too."""

REMOTE_COLUMNS: Final[tuple[Column[Leaf], ...]] = (
    Column(
        "addr",
        "address of the remote; * if unknown",
        lambda r: format_address(r.remote.address),
    ),
    Column("port", "port of the service", lambda r: r.remote.port),
    Column("proto", "protocol", lambda r: protocol_name(r.remote.protocol)),
    Column(
        "role",
        "role of the process: client or server",
        lambda r: Role(r.remote.role).name.lower(),
    ),
    Column("host", "name of the remote by reverse DNS", lambda r: r.host),
    Column(
        "loopback",
        "true if the remote is in 127.0.0.0/8 or ::1",
        lambda r: is_loopback(r.remote.address),
    ),
    *_NUMBERS,
    Column(
        "name",
        "best known name of the remote; remote_name in CSV",
        lambda r: r.name.name if r.name else None,
        in_csv="remote_name",
    ),
    Column(
        "name_source",
        "where that name is from: sni, host, dns, dns-host or reverse",
        lambda r: r.name.source.value if r.name else None,
    ),
    Column("net", NET_HELP, lambda r: r.net),
    Column("asn", ASN_HELP, lambda r: current().asn(r.remote.address)),
    Column("country", COUNTRY_HELP, lambda r: current().country(r.remote.address)),
)

DEFAULT_SORT: Final = "rate"


@dataclass(frozen=True)
class Order:
    """The sort order of rows: a column of processes, in its natural direction or reversed."""

    column: str = DEFAULT_SORT
    reverse: bool = False

    def text(self) -> str:
        """Return the text that parse_order() parses to this order."""
        return f"-{self.column}" if self.reverse else self.column

    @property
    def descending(self) -> bool:
        """True if the largest values come first."""
        return self._descends(_PROCESS_COLUMNS.get(self.column, _PROCESS_COLUMNS[DEFAULT_SORT]))

    def _descends(self, column: Column[Any]) -> bool:
        return column.descending != (self.reverse and column.id == self.column)

    def processes(self, rows: Iterable[Branch]) -> list[Branch]:
        """Return process rows, sorted; equal ones with the most traffic first, exited ones last, then by pid."""
        return self._sorted(sorted(rows, key=_place), _PROCESS_COLUMNS)

    def remotes(self, rows: Iterable[Leaf]) -> list[Leaf]:
        """Return remote rows, sorted by the same column, or by rate if remotes lack it; equal ones by traffic."""
        return self._sorted(sorted(rows, key=_remote_place), _REMOTE_COLUMNS)

    def _sorted(self, rows: list[Row], columns: Mapping[str, Column[Row]]) -> list[Row]:
        """Return rows, sorted; those without a value come last."""
        if len(rows) < 2:
            return rows
        column = columns.get(self.column) or columns[DEFAULT_SORT]
        get = column.get
        unknown = [row for row in rows if get(row) is None]
        known = [row for row in rows if get(row) is not None] if unknown else rows
        known = sorted(known, key=lambda row: _sortable(get(row)), reverse=self._descends(column))
        return known + unknown


_PROCESS_COLUMNS: Final = {column.id: column for column in ALL_COLUMNS}
_REMOTE_COLUMNS: Final = {column.id: column for column in REMOTE_COLUMNS if not column.in_csv}


def _traffic(counted: Counted) -> tuple[float, int]:
    """Return the sort key that puts the highest rate first, then the largest total."""
    return -(counted.rx_rate + counted.tx_rate), -(counted.rx_total + counted.tx_total)


def _place(row: Branch) -> tuple[Any, ...]:
    which = (row.key.start, row.key.exec) if row.key else (0, 0)
    return row.exited, *_traffic(row.counted), _pid(row), *which


def _remote_place(row: Leaf) -> tuple[Any, ...]:
    return *_traffic(row.counted), row.remote


def _sortable(value: Value) -> Any:
    """Return a sort key that ignores case. A column has values of one type: plain numbers sort fastest."""
    return value.casefold() if isinstance(value, str) else value


def parse_order(text: str) -> Order:
    """Return the order of "COLUMN" or "-COLUMN"; raise ValueError with the valid columns."""
    name = text.removeprefix("-")
    ids = [column.id for column in ALL_COLUMNS]
    if name not in ids:
        raise invalid("column", name, ", ".join(ids))
    return Order(name, reverse=text.startswith("-"))
