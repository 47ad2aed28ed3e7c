"""The table of flags: a row for each, which is a field of Options.

The command line, its checks, --help, configuration files, --print-config, the manual and the completions of shells all
come from this table.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from bwtop.capture.backends import BACKENDS
from bwtop.capture.session import DEFAULT_LIMITS
from bwtop.clickhouse import target
from bwtop.clickhouse.target import Target
from bwtop.history.dimensions import DIMENSIONS, Dimension, parse_several
from bwtop.history.ranges import HELP as RANGES
from bwtop.history.ranges import Range, parse_now
from bwtop.history.tiers import KEEP_REMOTES, TIERS, parse_tiers, spell_retention
from bwtop.metrics import otlp_target
from bwtop.metrics.otlp_target import OtlpTarget
from bwtop.metrics.totals import MetricsLabel
from bwtop.model.conditions import Loopback
from bwtop.model.networks import RESERVED, Network
from bwtop.options import values
from bwtop.options.flag import ROW, Complete, Flag, Group, Mode, choice, several, switch, value
from bwtop.tui.styles import THEMES
from bwtop.view.columns import ALL_COLUMNS
from bwtop.view.order import Order, parse_order

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8064
METRICS_PORT: Final = 8063
"""Differs from DEFAULT_PORT, so that --serve can run beside a service.  Prometheus' own port range is fully allocated."""

_RECORDING: Final = frozenset({Mode.SCREEN, Mode.BATCH, Mode.RECORD, Mode.SERVE})
_MEASURING: Final = _RECORDING | {Mode.DEMO}
_SCREENS: Final = frozenset({Mode.SCREEN, Mode.DEMO})
_PRINTING: Final = frozenset({Mode.BATCH, Mode.HISTORY})
_LISTENING: Final = frozenset({Mode.RECORD, Mode.SERVE})
_VIEWING: Final = _SCREENS | _PRINTING
_ONLY_BATCH: Final = frozenset({Mode.BATCH})
_ONLY_RECORD: Final = frozenset({Mode.RECORD})
_ONLY_HISTORY: Final = frozenset({Mode.HISTORY})
_ONLY_SERVE: Final = frozenset({Mode.SERVE})
_LIVE: Final = frozenset({Mode.SCREEN, Mode.BATCH})
_TABLES: Final = frozenset({Mode.INIT, Mode.PRINT_SCHEMA})

_ORIGIN: Final = frozenset({"origin"})
_NO_RECORD: Final = frozenset({"no_record"})
_CLASSES: Final = frozenset({"tcp", "udp", "other"})
_COMBINED: Final = "--tcp, --udp and --other can be combined (default: all)"

# Why flags contradict each other: added to the name of the other flag.

_UNRECORDED: Final = {"no_record": ", which records nothing"}
_FROM: Final = {"origin": ", which measures and records nothing here"}
_PAGE_FILTER: Final = {"serve": "; use the filter of the page"}
_PAGE_SETTINGS: Final = {"serve": "; use the settings of the page"}
_VIEWS_HOSTS: Final = "; it is for the full screen, --batch, --history and --serve"
_SERVERS: Final = {"serve": "", "record": " with --metrics"}


def _slow_enough(options: "Options") -> str | None:
    if options.origin and options.interval < 1:
        return "--interval must be 1 or more with --from"
    return None


def _not_all_hidden(options: "Options") -> str | None:
    if options.demo and options.loopback is Loopback.HIDE:
        return "--loopback hide cannot be used with --demo; it would hide all demo traffic"
    return None


def _on_loopback(options: "Options") -> str | None:
    host, _ = options.bind or options.metrics or (DEFAULT_HOST, DEFAULT_PORT)
    if options.open and not ipaddress.ip_address(host).is_loopback:
        return f"--open works on loopback addresses only, not on {host}; leave out --open"
    return None


def _dimensions(text: str) -> tuple[Dimension, ...]:
    return tuple(parse_several(text))


def _names(by: tuple[Dimension, ...]) -> list[str]:
    return [dimension.name for dimension in by]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The value of every flag: from the command line, a configuration file, or the default."""

    help: bool = switch(
        *("-h", "--help"),
        group=Group.OPTIONS,
        help="show this help message and exit",
        exits="help",
    )

    batch: bool = switch(
        "--batch",
        group=Group.MODES,
        help="print intervals to standard output",
    )
    record: bool = switch(
        "--record",
        group=Group.MODES,
        help="record only, no display (for a service)",
    )
    history: Range | None = value(
        "--history",
        group=Group.MODES,
        parse=parse_now,
        bare="today",
        metavar="RANGE",
        words=(
            *("today", "yesterday", "week", "last-week", "month", "last-month"),
            *("24h", "7d", "all"),
        ),
        help=f"report past usage: {RANGES} (default today)",
    )
    serve: bool = switch(
        "--serve",
        group=Group.MODES,
        help="serve a browser view and a JSON API",
    )
    check: bool = switch(
        "--check",
        group=Group.MODES,
        help="show which backends work here and verify their counts",
    )
    demo: bool = switch(
        "--demo",
        group=Group.MODES,
        help="open the full screen with ten minutes of demo traffic on loopback; record nothing",
    )
    salvage: Path | None = value(
        "--salvage",
        group=Group.MODES,
        parse=values.file,
        metavar="PATH",
        needs={"db": " PATH, a new file"},
        complete=Complete.FILE,
        help="copy what can be read of a damaged history to the new history given by --db",
    )
    init: bool = switch(
        "--init",
        group=Group.MODES,
        needs={"ship": " URL, the ClickHouse with the tables"},
        help="create or upgrade the tables in the ClickHouse given by --ship",
    )
    print_schema: bool = switch(
        "--print-schema",
        group=Group.MODES,
        help="print the SQL that --init runs",
    )
    print_config: bool = switch(
        "--print-config",
        group=Group.MODES,
        help="print the effective configuration, as a configuration file",
    )
    version: bool = switch(
        "--version",
        group=Group.MODES,
        help="print the version and exit",
        exits="version",
    )

    interval: float = value(
        *("-d", "--interval"),
        group=Group.MEASURING,
        parse=values.seconds,
        default=1.0,
        metavar="SEC",
        modes=_MEASURING - _ONLY_RECORD,
        check=_slow_enough,
        help="interval length in seconds, 0.1 to 3600 (default 1)",
    )
    iterations: int | None = value(
        *("-n", "--iterations"),
        group=Group.MEASURING,
        parse=values.whole(10**9),
        metavar="N",
        modes=_ONLY_BATCH,
        against={"history": "; use --limit to shorten a report"},
        help="stop after N intervals (default: run until stopped)",
    )
    backend: str | None = choice(
        "--backend",
        group=Group.MEASURING,
        what="backend",
        among=[backend.name for backend in BACKENDS],
        modes=_MEASURING,
        modes_if_typed=frozenset({Mode.CHECK}),  # else it tries them all
        against=_FROM,
        overrides=_ORIGIN,
        help="use only this backend (default: the first that works)",
    )
    max_flows: int = value(
        "--max-flows",
        group=Group.MEASURING,
        parse=values.whole(1 << 22),
        default=DEFAULT_LIMITS.flows,
        metavar="N",
        modes=_MEASURING,
        against=_FROM,
        help="maximum number of flows active in one second; beyond it, further remotes of a process"
        f" show as '*' (default {DEFAULT_LIMITS.flows})",
    )

    no_cache: bool = switch(
        "--no-cache",
        group=Group.MEASURING,
        modes=_MEASURING | {Mode.CHECK},
        against=_FROM,
        overrides=_ORIGIN,
        help="compile the programs for the kernel; neither read nor write the cache of compiled ones",
    )
    no_container_names: bool = switch(
        "--no-container-names",
        group=Group.MEASURING,
        modes=_MEASURING | {Mode.CHECK},
        against=_FROM,
        overrides=_ORIGIN,
        opposite="--container-names",
        help="do not read the names of containers; show their ids",
        opposite_help="read the names of containers (default)",
    )

    no_names: bool = switch(
        "--no-names",
        group=Group.MEASURING,
        modes=_MEASURING | _ONLY_HISTORY | {Mode.CHECK},
        help="do not listen for the names that programs ask for (DNS, TLS, HTTP), nor show recorded ones (addresses take their place)",
    )

    tcp: bool = switch(
        "--tcp",
        group=Group.FILTERS,
        modes=_VIEWING,
        against=_PAGE_FILTER,
        overrides=_CLASSES,
        help=f"only TCP; {_COMBINED}",
    )
    udp: bool = switch(
        "--udp",
        group=Group.FILTERS,
        modes=_VIEWING,
        against=_PAGE_FILTER,
        overrides=_CLASSES,
        help=f"only UDP; {_COMBINED}",
    )
    other: bool = switch(
        "--other",
        group=Group.FILTERS,
        modes=_VIEWING,
        against=_PAGE_FILTER,
        overrides=_CLASSES,
        help=f"only other protocols: ICMP, raw IP, SCTP; {_COMBINED}",
    )
    pid: tuple[int, ...] = several(
        "--pid",
        group=Group.FILTERS,
        parse=values.pid,
        metavar="PID",
        modes=_VIEWING,
        against=_PAGE_FILTER,
        complete=Complete.PROCESS,
        help="only processes with these ids",
    )
    user: tuple[int, ...] = several(
        "--user",
        group=Group.FILTERS,
        parse=values.uid,
        metavar="USER",
        modes=_VIEWING,
        against=_PAGE_FILTER,
        complete=Complete.USER,
        help="only processes of these users, by name or uid",
    )
    process: tuple[str, ...] = several(
        "--process",
        group=Group.FILTERS,
        parse=values.name,
        metavar="NAME",
        modes=_VIEWING,
        against=_PAGE_FILTER,
        help="only processes with these names; shell patterns such as 'nginx*' are allowed",
    )
    remote: tuple[Network, ...] = several(
        "--remote",
        group=Group.FILTERS,
        parse=values.network,
        metavar="ADDR|CIDR",
        modes=_VIEWING,
        against=_PAGE_FILTER,
        help="only traffic to and from these addresses or networks",
    )
    net: tuple[str, ...] = several(
        "--net",
        group=Group.FILTERS,
        parse=values.network_class,
        metavar="NAME",
        modes=_VIEWING,
        against=_PAGE_FILTER,
        words=RESERVED,
        is_list=True,
        help="only traffic with these networks: internet, lan, multicast, loopback, unknown, or names of the configuration",
    )
    loopback: Loopback = choice(
        "--loopback",
        group=Group.FILTERS,
        what="value",
        among=tuple(Loopback),
        default=Loopback.SHOW,
        modes=_VIEWING - {Mode.DEMO},
        modes_if_typed=frozenset({Mode.DEMO}),
        against=_PAGE_FILTER,
        check=_not_all_hidden,
        help="show traffic to and from 127.0.0.0/8 and ::1, hide it, or show nothing else (default show)",
    )

    format: str | None = choice(
        "--format",
        group=Group.DISPLAY,
        what="format",
        among=values.FORMATS,
        modes=_PRINTING,
        help="output format (default table)",
    )
    sort: Order = value(
        *("-s", "--sort"),
        group=Group.DISPLAY,
        parse=parse_order,
        default=Order(),
        metavar="COLUMN",
        modes=_SCREENS | _ONLY_BATCH,
        modes_if_typed=_ONLY_HISTORY,  # which cannot sort by all columns
        against=_PAGE_SETTINGS,
        spell=Order.text,
        words=(*(c.id for c in ALL_COLUMNS), *(f"-{c.id}" for c in ALL_COLUMNS)),
        help="sort by this column (default rate); a leading - reverses the order",
    )
    limit: int | None = value(
        "--limit",
        group=Group.DISPLAY,
        parse=values.whole(10**9),
        metavar="N",
        modes=_PRINTING,
        help="show only the first N processes, or rows of a report",
    )
    bits: bool = switch(
        "--bits",
        group=Group.DISPLAY,
        modes=_VIEWING,
        against=_PAGE_SETTINGS,
        opposite="--no-bits",
        help="show rates in bits per second (not in JSON and CSV)",
        opposite_help="show rates in bytes per second (default)",
    )
    asn_db: Path | None = value(
        "--asn-db",
        group=Group.DISPLAY,
        parse=values.file,
        metavar="PATH",
        modes=_VIEWING | _ONLY_SERVE,
        complete=Complete.FILE,
        help="know the autonomous system of remotes from this MaxMind DB file (asn: in filters, --by asn, columns)",
    )
    country_db: Path | None = value(
        "--country-db",
        group=Group.DISPLAY,
        parse=values.file,
        metavar="PATH",
        modes=_VIEWING | _ONLY_SERVE,
        complete=Complete.FILE,
        help="know the country of remotes from this MaxMind DB file (country: in filters, --by country, columns)",
    )
    theme: str | None = choice(
        "--theme",
        group=Group.DISPLAY,
        what="theme",
        among=tuple(THEMES),
        modes=_SCREENS,
        against=_PAGE_SETTINGS,
        help="colours of the full screen (default: by the background of the terminal; plain: its own colours)",
    )
    no_resolve: bool = switch(
        "--no-resolve",
        group=Group.DISPLAY,
        modes=_VIEWING | _ONLY_SERVE,
        opposite="--resolve",
        help="do not resolve addresses to names",
        opposite_help="resolve addresses to names (default)",
    )

    db: Path | None = value(
        "--db",
        group=Group.HISTORY,
        parse=values.file,
        metavar="PATH",
        modes=_RECORDING | _PRINTING | {Mode.SALVAGE},
        against=_FROM,
        overrides=_ORIGIN,
        complete=Complete.FILE,
        help="history database (default: $BWTOP_DB, else that of the service, else your own)",
    )
    no_record: bool = switch(
        "--no-record",
        group=Group.HISTORY,
        modes=_RECORDING - _ONLY_RECORD,
        modes_if_typed=frozenset({Mode.DEMO}),
        against=_FROM | {"record": "; leave out one of them"},
        overrides=_ORIGIN,
        help="do not record",
    )
    by: tuple[Dimension, ...] = value(
        "--by",
        group=Group.HISTORY,
        parse=_dimensions,
        default=(),
        metavar="WHAT",
        modes=_ONLY_HISTORY,
        needs={"history": ""},
        spell=_names,
        words=[dimension.name for dimension in DIMENSIONS],
        is_list=True,
        help="group the --history report by these, comma-separated (see below)",
    )
    retention: dict[str, float] | None = value(
        "--retention",
        group=Group.HISTORY,
        parse=parse_tiers,
        metavar="NAME=TIME",
        modes=_RECORDING,
        modes_if_typed=_TABLES,
        against=_FROM | _UNRECORDED,
        overrides=_ORIGIN | _NO_RECORD,
        is_table=True,
        spell=spell_retention,
        words=[f"{tier.name}=" for tier in TIERS],
        is_list=True,
        help="how long to keep each level of detail (see below)",
    )
    keep_remotes: int = value(
        "--keep-remotes",
        group=Group.HISTORY,
        parse=values.whole(10**6),
        default=KEEP_REMOTES,
        metavar="N",
        modes=_RECORDING,
        against=_FROM | _UNRECORDED,
        overrides=_ORIGIN | _NO_RECORD,
        help="in totals per hour, day and month, keep the N largest remotes of each process;"
        f" the rest is added up as '*' (default {KEEP_REMOTES})",
    )
    max_size: int | None = value(
        "--max-size",
        group=Group.HISTORY,
        parse=values.size,
        metavar="SIZE",
        modes=_RECORDING,
        against=_FROM | _UNRECORDED,
        overrides=_ORIGIN | _NO_RECORD,
        spell=values.spell_size,
        help="maximum size of the history, such as 200M; beyond it bwtop adds up small remotes in all totals,"
        " then deletes the oldest detail first; daily totals are kept",
    )
    store_cmdlines: bool = switch(
        "--store-cmdlines",
        group=Group.HISTORY,
        modes=_RECORDING,
        against=_FROM | _UNRECORDED,
        overrides=_ORIGIN | _NO_RECORD,
        help="record command lines, which may contain secrets, with the per-second data;"
        " every reader of the history sees them",
    )

    ship: Target | None = value(
        "--ship",
        group=Group.HOSTS,
        parse=target.parse,
        metavar="URL",
        modes=_RECORDING,
        modes_if_typed=_TABLES,
        against=_FROM | _UNRECORDED,
        overrides=_ORIGIN | _NO_RECORD,
        spell=Target.url,
        help="send recorded data to this ClickHouse, clickhouse://user@host:9000/database;"
        " use clickhouses:// for TLS",
    )
    origin: Target | None = value(
        "--from",
        group=Group.HOSTS,
        parse=target.parse,
        metavar="URL",
        modes=_ONLY_HISTORY | _ONLY_SERVE,
        modes_if_typed=_LIVE,  # a host with it in a file still shows itself
        against=dict.fromkeys(
            ("record", "check", "demo", "init", "salvage", "print_schema"), _VIEWS_HOSTS
        ),
        spell=Target.url,
        help="show the hosts that send to this ClickHouse, live or past, instead of this host",
    )
    password_file: Path | None = value(
        "--password-file",
        group=Group.HOSTS,
        parse=values.file,
        metavar="PATH",
        modes=_RECORDING | _ONLY_HISTORY | _TABLES,
        needs={"ship": "", "origin": ""},
        complete=Complete.FILE,
        help=f"read the ClickHouse password from this file (default: ${target.PASSWORD}, or none)",
    )
    host: tuple[str, ...] = several(
        "--host",
        group=Group.HOSTS,
        parse=values.machine,
        metavar="NAME",
        modes=_ONLY_HISTORY,
        modes_if_typed=_LIVE,
        needs={"history": "", "origin": ""},
        against=_PAGE_FILTER,
        help="only these hosts, by name, by shell pattern such as 'web*', or by id or its first 8 digits",
    )
    cluster: str | None = value(
        "--cluster",
        group=Group.HOSTS,
        parse=values.cluster,
        metavar="NAME",
        modes=_TABLES,
        is_setting=False,  # tables are created once
        needs={"init": "", "print_schema": ""},
        help="create replicated tables, distributed over this ClickHouse cluster",
    )

    bind: tuple[str, int] | None = value(
        "--bind",
        group=Group.SERVING,
        parse=values.endpoint(DEFAULT_PORT),
        metavar="ADDR:PORT",
        modes=_ONLY_SERVE,
        needs={"serve": ""},
        spell=values.spell_endpoint,
        help=f"listen on this address (default {DEFAULT_HOST}:{DEFAULT_PORT});"
        " beyond loopback every client needs the token",
    )
    metrics: tuple[str, int] | None = value(
        "--metrics",
        group=Group.SERVING,
        parse=values.endpoint(METRICS_PORT),
        metavar="ADDR:PORT",
        modes=_ONLY_RECORD,
        needs={"record": "; --serve always provides /metrics"},
        spell=values.spell_endpoint,
        help="with --record, serve Prometheus metrics on this address, such as"
        f" {DEFAULT_HOST}:{METRICS_PORT}; beyond loopback this requires --token-file",
    )
    metrics_labels: tuple[MetricsLabel, ...] = several(
        "--metrics-labels",
        group=Group.SERVING,
        parse=values.one_of("label", MetricsLabel),
        metavar="NAME",
        modes=_LISTENING,
        needs=_SERVERS,
        words=[*MetricsLabel],
        is_list=True,
        help="metrics also tell the bytes of a name apart by unit, container or both",
    )
    otlp: OtlpTarget | None = value(
        "--otlp",
        group=Group.SERVING,
        parse=otlp_target.parse,
        metavar="URL",
        modes=_LISTENING,
        needs={"record": "", "serve": ""},
        spell=OtlpTarget.url,
        help="send the metrics to this OpenTelemetry collector, such as http://127.0.0.1:4318;"
        " use https:// for TLS",
    )
    token_file: Path | None = value(
        "--token-file",
        group=Group.SERVING,
        parse=values.file,
        metavar="PATH",
        modes=_LISTENING,
        needs=_SERVERS,
        complete=Complete.FILE,
        help="read the token from this file (default: create a token and print it; with --metrics, no token)",
    )
    trust_user: tuple[int, ...] = several(
        "--trust-user",
        group=Group.SERVING,
        parse=values.uid,
        metavar="NAME",
        modes=_LISTENING,
        needs=_SERVERS,
        complete=Complete.USER,
        help="let this user connect on loopback without the token, such as prometheus or the user of a proxy",
    )
    open: bool = switch(
        "--open",
        group=Group.SERVING,
        modes=_LISTENING,
        needs=_SERVERS,
        against={"token_file": "; leave out one of them"},
        check=_on_loopback,
        help="let every local user connect on loopback without a token",
    )
    allow_host: tuple[str, ...] = several(
        "--allow-host",
        group=Group.SERVING,
        parse=values.host,
        metavar="NAME",
        modes=_LISTENING,
        needs=_SERVERS,
        help="accept this Host name in requests, such as the name of a proxy",
    )
    chart_js: Path | None = value(
        "--chart-js",
        group=Group.SERVING,
        parse=values.file,
        metavar="PATH",
        modes=_ONLY_SERVE,
        needs={"serve": ""},
        complete=Complete.FILE,
        help="Chart.js file to serve (default: the file of Debian's libjs-chart.js)",
    )

    config: Path | None = value(
        "--config",
        group=Group.CONFIGURATION,
        parse=values.file,
        metavar="PATH",
        complete=Complete.FILE,
        help="read this file instead of /etc/bwtop/config.toml and ~/.config/bwtop/config.toml",
    )
    no_config: bool = switch(
        "--no-config",
        group=Group.CONFIGURATION,
        help="read no configuration file",
    )

    @property
    def classes(self) -> frozenset[str]:
        """Return the protocol classes to show; empty: all."""
        chosen = {"tcp": self.tcp, "udp": self.udp, "other": self.other}
        return frozenset(name for name, is_chosen in chosen.items() if is_chosen)


def _rows() -> Iterator[Flag]:
    """Yield the rows of Options; after a switch with an opposite, that of the opposite."""
    for field in fields(Options):
        flag: Flag = replace(field.metadata[ROW], name=field.name, default=field.default)
        yield flag
        if flag.opposite:
            yield replace(
                flag, names=(flag.opposite,), help=flag.opposite_help, turns=False, opposite=""
            )


ROWS: Final = tuple(_rows())
"""All flags, in the order of --help."""

FLAGS: Final = {flag.name: flag for flag in ROWS if flag.turns}
"""Flags by their fields in Options, without opposites."""

SETTINGS: Final = {flag.setting: flag for flag in ROWS if flag.setting}
"""Flags that a configuration file may set, by their names there."""
