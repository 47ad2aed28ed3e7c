"""All columns, one row each; the screen, sorting, tables, JSON and CSV use this table."""

from collections.abc import Callable
from typing import Final

from bwtop.model.flows import Role, format_address, is_loopback, protocol_name
from bwtop.model.geography import current
from bwtop.model.series import LENGTH
from bwtop.view.column import Cell, CellKind, Column, iso, thousandths
from bwtop.view.rows import Branch, Leaf
from bwtop.view.rows import Row as AnyRow

_NUMBERS: Final[tuple[Column[AnyRow], ...]] = (
    Column("rx", "bytes received in the interval", lambda r: r.counted.rx, descending=True),
    Column("tx", "bytes sent in the interval", lambda r: r.counted.tx, descending=True),
    Column(
        "rx_rate",
        "bytes received per second",
        lambda r: thousandths(r.counted.rx_rate),
        descending=True,
        cells=(Cell("{down}/s", 10, place=9, rank=1, kind=CellKind.RATE, right=True),),
    ),
    Column(
        "tx_rate",
        "bytes sent per second",
        lambda r: thousandths(r.counted.tx_rate),
        descending=True,
        cells=(Cell("{up}/s", 10, place=10, rank=2, kind=CellKind.RATE, right=True),),
    ),
    Column(
        "rx_total",
        "bytes received since bwtop started",
        lambda r: r.counted.rx_total,
        descending=True,
        cells=(Cell("{down} total", 10, place=12, rank=4, kind=CellKind.SIZE, right=True),),
    ),
    Column(
        "tx_total",
        "bytes sent since bwtop started",
        lambda r: r.counted.tx_total,
        descending=True,
        cells=(Cell("{up} total", 10, place=13, rank=5, kind=CellKind.SIZE, right=True),),
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
                first=4,
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
                place=14,
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


def shown_pid(row: Branch) -> int:
    """Return the pid, 0 if unknown; of a group the number of its living processes, which the screen shows in its place."""
    return row.living if row.process is None else row.pid or 0


NET_HELP: Final = (
    "network of the remote: internet, lan, multicast, loopback, or a name of the configuration"
)

ASN_HELP: Final = "autonomous system of the remote, with --asn-db"
COUNTRY_HELP: Final = "country of the remote, with --country-db"


def _of_busiest(row: Branch, of: Callable[[bytes], str | None]) -> str | None:
    """Return a property of the remote that moved most bytes; None: there is no remote."""
    first = max(row.shown_flows(), key=lambda flow: flow.rx + flow.tx, default=None)
    return of(first.remote.address) if first else None


def _net(row: Branch) -> str | None:
    """Return the class that moved most bytes, and how many other ones there are; None: it has no remotes."""
    sums: dict[str, int] = {}
    for flow in row.shown_flows():
        sums[flow.net] = sums.get(flow.net, 0) + flow.rx + flow.tx
    if not sums:
        return None
    name = max(sums, key=lambda net: (sums[net], net))
    return f"{name} +{len(sums) - 1}" if len(sums) > 1 else name


_PEAK_HELP: Final = f"highest rate of one of the last {LENGTH} intervals, both directions"

_SPARE: Final = 18
"""Cells for names, top remotes and graphs: these are worth more than the columns that wait for them."""


def _count_remotes(row: Branch) -> int | None:
    """Return the number of remote addresses; None: it has no remotes. Unknown ones count as one."""
    return len({flow.remote.address for flow in row.shown_flows()}) or None


def _count_flows(row: Branch) -> int | None:
    return sum(1 for _ in row.shown_flows()) or None


PROCESS_COLUMNS: Final[tuple[Column[Branch], ...]] = (
    Column(
        "pid",
        "process id; 0 if the process is unknown",
        shown_pid,
        cells=(Cell("PID", 8, place=0, rank=3, right=True, groups=True),),
    ),
    Column("start", "start time of the process", lambda r: iso(r.identity.started)),
    Column(
        "exec",
        "number that tells the programs apart that one process runs in turn",
        lambda r: r.key.exec if r.key else None,
    ),
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
        cells=(Cell("AS", 24, place=16, rank=13, kind=CellKind.NUMBER),),
    ),
    Column(
        "country",
        COUNTRY_HELP,
        lambda r: _of_busiest(r, current().country),
        exported=False,
        cells=(Cell("COUNTRY", 8, place=15, rank=12, kind=CellKind.NUMBER),),
    ),
    Column(
        "remotes",
        "number of remote addresses",
        _count_remotes,
        descending=True,
        exported=False,
        cells=(
            Cell("REMOTES", 8, place=7, rank=15, spare=_SPARE, kind=CellKind.NUMBER, right=True),
        ),
    ),
    Column(
        "flows",
        "number of flows; an address has one for each protocol, port and role",
        _count_flows,
        descending=True,
        exported=False,
        cells=(Cell("FLOWS", 6, place=8, rank=16, spare=_SPARE, kind=CellKind.NUMBER, right=True),),
    ),
    Column(
        "peak",
        f"{_PEAK_HELP}; known on the screen only",
        lambda r: r.peak,
        descending=True,
        exported=False,
        cells=(
            Cell(
                "PEAK/s",
                10,
                place=11,
                rank=14,
                spare=_SPARE,
                kind=CellKind.RATE,
                right=True,
                help=_PEAK_HELP,
            ),
        ),
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
