"""Command-line flags: names, values, help, and the rules between them."""

import argparse
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from bwtop import __version__
from bwtop.capture.backends import BACKENDS
from bwtop.capture.session import DEFAULT_LIMITS
from bwtop.clickhouse import target
from bwtop.history import ranges
from bwtop.history.dimensions import DIMENSIONS, parse_several
from bwtop.history.tiers import TIERS, in_words, parse_retention
from bwtop.model.filter import Loopback
from bwtop.options import values
from bwtop.text.stderr import fail
from bwtop.tui.styles import THEMES
from bwtop.view.columns import ALL_COLUMNS, DEFAULT_SORT, parse_order

_EPILOG: Final = """\
columns (--sort):
{columns}

levels of detail, and how long each is kept by default
(--retention NAME=TIME,...; TIME is 90m, 36h, 30d, 2y or forever):
{tiers}

report groups (--by):
{dimensions}

examples:
  sudo bwtop                                  full screen; press h for help
  sudo bwtop --demo                           full screen with demo traffic
  sudo bwtop --batch -n 5                     five intervals of one second
  sudo bwtop --batch --format json | jq .     one JSON object per interval
  sudo bwtop --batch --udp --sort tx_total    processes that send most over UDP
  sudo bwtop --batch --remote 192.0.2.0/24    processes that talk to this network
  sudo bwtop --record                         record only, no display
  sudo bwtop --record --metrics 127.0.0.1     record, with Prometheus metrics on port 8063
  sudo bwtop --serve                          browser view on http://127.0.0.1:8064/
  bwtop --history                             usage today
  bwtop --history last-month --by user        usage last month, per user
  bwtop --history 7d --remote 192.0.2.0/24    usage in the last 7 days, with one network
  sudo bwtop --record --ship clickhouse://bwtop@192.0.2.9/bwtop
                                              record, and send to a ClickHouse
  bwtop --history --from clickhouse://bwtop@192.0.2.9/bwtop --by host,process
                                              usage of all hosts, per host and process
  sudo bwtop --check                          backends that work here

bwtop counts payload: the bytes that programs send and receive, without headers
and retransmissions. SIGINT, SIGTERM and SIGHUP stop bwtop after a last, shorter
interval; a second signal stops it at once.
Exit status: 0 on success, 2 on failure or wrong usage.
"""

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8064
METRICS_PORT: Final = 8063
"""Differs from DEFAULT_PORT, so that --serve can run beside a service.  Prometheus' own port range is fully allocated."""

T = TypeVar("T")


class Mode(StrEnum):
    """A mode, by the name of its flag.  The full screen has no flag."""

    SCREEN = "screen"
    BATCH = "batch"
    RECORD = "record"
    HISTORY = "history"
    SERVE = "serve"
    CHECK = "check"
    DEMO = "demo"
    INIT = "init"
    PRINT_SCHEMA = "print_schema"
    PRINT_CONFIG = "print_config"


_RECORDING: Final = frozenset({Mode.SCREEN, Mode.BATCH, Mode.RECORD, Mode.SERVE})
_MEASURING: Final = _RECORDING | {Mode.DEMO}
_SCREENS: Final = frozenset({Mode.SCREEN, Mode.DEMO})
_PRINTING: Final = frozenset({Mode.BATCH, Mode.HISTORY})
_LISTENING: Final = frozenset({Mode.RECORD, Mode.SERVE})
_VIEWING: Final = _SCREENS | _PRINTING

_LOCAL: Final = frozenset(
    {"db", "ship", "retention", "max_size", "backend", "no_record", "store_cmdlines"}
)
"""Flags about the local host: one of them on the command line overrides a configured --from."""

MODES: Final = {
    "interval": _MEASURING,
    "iterations": frozenset({Mode.BATCH}),
    "backend": _MEASURING,
    "max_flows": _MEASURING,
    "classes": _VIEWING,
    "pid": _VIEWING,
    "user": _VIEWING,
    "process": _VIEWING,
    "remote": _VIEWING,
    "loopback": _VIEWING - {Mode.DEMO},
    "host": frozenset({Mode.HISTORY}),
    "format": _PRINTING,
    "sort": _SCREENS | {Mode.BATCH},
    "limit": _PRINTING,
    "bits": _VIEWING,
    "theme": _SCREENS,
    "no_resolve": _VIEWING | {Mode.SERVE},
    "db": _RECORDING | _PRINTING,
    "no_record": _RECORDING - {Mode.RECORD},
    "by": frozenset({Mode.HISTORY}),
    "ship": _RECORDING,
    "origin": frozenset(
        {Mode.HISTORY, Mode.SERVE}
    ),  # else a host with a configured --from could not show itself
    "password_file": _RECORDING | {Mode.HISTORY, Mode.INIT, Mode.PRINT_SCHEMA},
    "retention": _RECORDING,
    "max_size": _RECORDING,
    "store_cmdlines": _RECORDING,
    "bind": frozenset({Mode.SERVE}),
    "metrics": frozenset({Mode.RECORD}),
    "token_file": _LISTENING,
    "allow_host": _LISTENING,
    "trust_user": _LISTENING,
    "open": _LISTENING,
    "chart_js": frozenset({Mode.SERVE}),
}
"""Flags that a configuration file may set, by argparse's `dest`, with the modes that use them.

Other modes ignore the setting, unlike a typed flag: `limit` in a file must not make `bwtop --record` fail."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with `message` and status 2."""
        fail(f"{message} (see bwtop --help)")


@dataclass(frozen=True)
class ParsedFlags:
    """Flags from the command line, and the defaults of all flags, both by argparse's `dest`."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def mode(self, *, terminal: bool) -> Mode:
        """Return the requested mode; `terminal`: a full screen is possible."""
        for mode in Mode:
            if self.values.get(mode, None) not in (None, False):
                return mode
        printing = ("format", "iterations", "limit")
        return Mode.SCREEN if terminal and not self.values.keys() & set(printing) else Mode.BATCH

    def options(self, mode: Mode, configured: Mapping[str, Any]) -> argparse.Namespace:
        """Return all options: defaults, then `configured` settings that the mode uses, then flags."""
        taken = {name: value for name, value in configured.items() if mode in MODES[name]}
        if self.values.keys() & _LOCAL:
            taken.pop("origin", None)
        return argparse.Namespace(**{**self.defaults, **taken, **self.values})


def parse(arguments: Sequence[str]) -> ParsedFlags:
    """Parse command-line arguments; exit with one line and status 2 if they are wrong."""
    top = parser()
    defaults = {a.dest: a.default for a in top._actions if a.default != argparse.SUPPRESS}
    for action in top._actions:
        action.default = argparse.SUPPRESS
    given = ParsedFlags(vars(top.parse_args(join_sort(arguments))), defaults)
    _check(top, given.options(Mode.CHECK, {}))
    return given


def _check(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Reject flags that contradict each other or require another flag."""
    if options.by and options.history is None:
        top.error("--by requires --history")
    is_kept = options.retention or options.max_size or options.store_cmdlines
    _check_fleet(top, options)
    if is_kept and (options.no_record or options.history is not None):
        top.error(
            "--retention, --max-size and --store-cmdlines cannot be used with --history or --no-record"
        )
    if options.no_record and options.history is not None:
        top.error("--no-record cannot be used with --history, which records nothing")
    if options.no_record and options.record:
        top.error("--record and --no-record contradict each other; leave out one of them")
    printing = (options.iterations, options.limit, options.format)
    for mode in ("record", "serve", "demo"):
        if getattr(options, mode) and any(value is not None for value in printing):
            top.error(
                f"-n, --limit and --format cannot be used with --{mode}, which prints no intervals"
            )
    _check_serving(top, options)
    _check_demo(top, options)
    if options.history is not None and options.iterations is not None:
        top.error("-n cannot be used with --history; use --limit to shorten a report")


def _check_fleet(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    makes_tables = options.init or options.print_schema
    if options.init and not options.ship:
        top.error("--init needs --ship URL, the ClickHouse to create the tables in")
    if options.cluster and not makes_tables:
        top.error("--cluster is for --init and --print-schema")
    if options.ship and (options.no_record or options.history is not None or options.demo):
        top.error(
            "--ship cannot be used with --history, --demo or --no-record: it is for recording"
        )
    if options.origin and (options.record or options.check or options.demo or makes_tables):
        top.error("--from is for the full screen, --batch, --history and --serve")
    recorded = (options.db, options.ship, options.retention, options.max_size)
    own = (options.store_cmdlines, options.no_record, options.backend)
    is_sized = options.max_flows != DEFAULT_LIMITS.flows
    if options.origin and (any(recorded) or any(own) or is_sized):
        top.error(
            "with --from nothing is measured or recorded; leave out --db, --ship, --retention,"
            " --max-size, --store-cmdlines, --no-record, --backend and --max-flows"
        )
    if options.origin and options.interval < 1:
        top.error("with --from, -d is 1 or more seconds")
    if options.password_file and not (options.ship or options.origin):
        top.error("--password-file is for --ship and --from")
    if options.host and (options.serve or not (options.origin or options.history is not None)):
        top.error("--host is for --history and --from; with --serve, a page has its own filter")


def _check_serving(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    filters = (options.classes, options.pid, options.user, options.process, options.remote)
    is_filtered = any(filters) or options.loopback != Loopback.SHOW.value
    if options.serve and is_filtered:
        top.error("filter flags cannot be used with --serve; use the filter of the page")
    if options.serve and (options.sort != DEFAULT_SORT or options.bits or options.theme):
        top.error(
            "--sort, --bits and --theme cannot be used with --serve; use the settings of the page"
        )
    if not options.serve and (options.bind or options.chart_js):
        top.error("--bind and --chart-js require --serve")
    if options.metrics and not options.record:
        top.error("--metrics requires --record; --serve always provides /metrics")
    is_listening = options.serve or options.record
    if (options.token_file or options.allow_host) and not is_listening:
        top.error("--token-file and --allow-host require --serve or --record --metrics")
    if (options.trust_user or options.open) and not is_listening:
        top.error("--trust-user and --open require --serve or --record --metrics")
    if fault := open_fault(options):
        top.error(fault)


def open_fault(options: argparse.Namespace) -> str | None:
    """Return a message if another setting contradicts --open, else None.

    Either may come from a configuration file.
    """
    if not options.open:
        return None
    host, _ = options.bind or options.metrics or (DEFAULT_HOST, DEFAULT_PORT)
    if not ipaddress.ip_address(host).is_loopback:
        return f"--open works on loopback addresses only, not on {host}; leave out --open"
    if options.token_file:
        return "--open and --token-file contradict each other; leave out one of them"
    return None


def _check_demo(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    kept = (options.db, options.retention, options.max_size, options.store_cmdlines)
    if options.demo and any(kept):
        top.error(
            "--db, --retention, --max-size and --store-cmdlines cannot be used with --demo,"
            " which records nothing"
        )
    if options.demo and options.loopback == Loopback.HIDE.value:
        top.error("--loopback hide would hide all demo traffic; leave it out with --demo")


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap a parser so that argparse shows the text of its ValueError."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _order_name(text: str) -> str:
    parse_order(text)
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    columns = "\n".join(f"  {column.id:<10} {column.help}" for column in ALL_COLUMNS)
    tiers = "\n".join(f"  {t.name:<10} {in_words(t.seconds):<10} {t.help}" for t in TIERS)
    ways = "\n".join(f"  {d.name:<10} {d.help}" for d in DIMENSIONS)
    top = _Parser(
        prog="bwtop",
        description="Show which process moves how many bytes, to and from which remote address.",
        epilog=_EPILOG.format(columns=columns, tiers=tiers, dimensions=ways),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    modes = top.add_argument_group("modes").add_mutually_exclusive_group()
    modes.add_argument("--batch", action="store_true", help="print intervals to standard output")
    modes.add_argument(
        "--record", action="store_true", help="record only, no display (for a service)"
    )
    modes.add_argument(
        "--history",
        nargs="?",
        const="today",
        metavar="RANGE",
        help=f"report past usage: {ranges.HELP} (default today)",
    )
    modes.add_argument("--serve", action="store_true", help="serve a browser view and a JSON API")
    modes.add_argument(
        "--check", action="store_true", help="show which backends work here and verify their counts"
    )
    modes.add_argument(
        "--demo",
        action="store_true",
        help="open the full screen with ten minutes of demo traffic on loopback; record nothing",
    )
    modes.add_argument(
        "--init",
        action="store_true",
        help="create missing tables in the ClickHouse given by --ship",
    )
    modes.add_argument("--print-schema", action="store_true", help="print the SQL that --init runs")
    modes.add_argument(
        "--print-config",
        action="store_true",
        help="print the effective configuration, as a configuration file",
    )
    modes.add_argument(
        "--version",
        action="version",
        version=f"bwtop {__version__}",
        help="print the version and exit",
    )
    _add_measuring(top.add_argument_group("measuring"))
    _add_filters(
        top.add_argument_group(
            "filters", "Traffic must match all filters. Lists are comma-separated."
        )
    )
    _add_display(top.add_argument_group("display"))
    _add_history(top.add_argument_group("history"))
    _add_fleet(top.add_argument_group("many hosts"))
    _add_serving(top.add_argument_group("browser view and metrics"))
    _add_configuration(top.add_argument_group("configuration"))
    return top


def _add_configuration(group: argparse._ArgumentGroup) -> None:
    files = group.add_mutually_exclusive_group()
    files.add_argument(
        "--config",
        type=_value(values.file),
        metavar="PATH",
        help="read this file instead of /etc/bwtop/config.toml and ~/.config/bwtop/config.toml",
    )
    files.add_argument("--no-config", action="store_true", help="read no configuration file")


def _add_fleet(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--ship",
        type=_value(target.parse),
        metavar="URL",
        help="send recorded data to this ClickHouse, clickhouse://user@host:9000/database;"
        " use clickhouses:// for TLS",
    )
    add(
        "--from",
        dest="origin",
        type=_value(target.parse),
        metavar="URL",
        help="show the hosts that send to this ClickHouse, live or past, instead of this host",
    )
    add(
        "--password-file",
        type=_value(values.file),
        metavar="PATH",
        help=f"read the ClickHouse password from this file (default: ${target.PASSWORD}, or none)",
    )
    add(
        "--host",
        type=_value(values.listed(values.machine)),
        action="extend",
        metavar="NAME",
        help="only these hosts; shell patterns such as 'web*' are allowed",
    )
    add(
        "--cluster",
        type=_value(values.cluster),
        metavar="NAME",
        help="create replicated tables, distributed over this ClickHouse cluster",
    )


def _add_serving(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--bind",
        type=_value(values.endpoint(DEFAULT_PORT)),
        metavar="ADDR:PORT",
        help=f"listen on this address (default {DEFAULT_HOST}:{DEFAULT_PORT});"
        " beyond loopback every client needs the token",
    )
    add(
        "--metrics",
        type=_value(values.endpoint(METRICS_PORT)),
        metavar="ADDR:PORT",
        help="with --record, serve Prometheus metrics on this address, such as"
        f" {DEFAULT_HOST}:{METRICS_PORT}; beyond loopback this requires --token-file",
    )
    add(
        "--token-file",
        type=_value(values.file),
        metavar="PATH",
        help="read the token from this file (default: create a token and print it; with --metrics, no token)",
    )
    add(
        "--trust-user",
        type=_value(values.listed(values.uid)),
        action="extend",
        metavar="NAME",
        help="let this user connect on loopback without the token, such as prometheus or the user of a proxy",
    )
    add(
        "--open",
        action="store_true",
        help="let every local user connect on loopback without a token",
    )
    add(
        "--allow-host",
        type=_value(values.host),
        action="append",
        metavar="NAME",
        help="accept this Host name in requests, such as the name of a proxy",
    )
    add(
        "--chart-js",
        type=_value(values.file),
        metavar="PATH",
        help="Chart.js file to serve (default: the file of Debian's libjs-chart.js)",
    )


def _add_history(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--db",
        type=Path,
        metavar="PATH",
        help="history database (default: $BWTOP_DB, else that of the service, else your own)",
    )
    add("--no-record", action="store_true", help="do not record")
    add(
        "--by",
        type=_value(parse_several),
        metavar="WHAT",
        help="group the --history report by these, comma-separated (see below)",
    )
    add(
        "--retention",
        type=_value(parse_retention),
        metavar="NAME=TIME",
        help="how long to keep each level of detail (see below)",
    )
    add(
        "--max-size",
        type=_value(values.size),
        metavar="SIZE",
        help="maximum size of the history, such as 200M; beyond it bwtop deletes the oldest detail first;"
        " daily totals are kept",
    )
    add(
        "--store-cmdlines",
        action="store_true",
        help="record command lines, which may contain secrets, with the per-second data;"
        " every reader of the history sees them",
    )


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-d",
        "--interval",
        type=_value(values.seconds),
        default=1.0,
        metavar="SEC",
        help="interval length in seconds, 0.1 to 3600 (default 1)",
    )
    add(
        "-n",
        "--iterations",
        type=_value(values.whole(10**9)),
        metavar="N",
        help="stop after N intervals (default: run until stopped)",
    )
    add(
        "--backend",
        choices=[b.name for b in BACKENDS],
        help="use only this backend (default: the first that works)",
    )
    add(
        "--max-flows",
        type=_value(values.whole(1 << 22)),
        default=DEFAULT_LIMITS.flows,
        metavar="N",
        help="maximum number of flows active in one second; beyond it, further remotes of a process"
        f" show as '*' (default {DEFAULT_LIMITS.flows})",
    )


_CLASSES: Final = {"tcp": "TCP", "udp": "UDP", "other": "other protocols: ICMP, raw IP, SCTP"}


def _add_filters(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for name in _CLASSES:
        add(
            f"--{name}",
            dest="classes",
            action="append_const",
            const=name,
            help=f"only {_CLASSES[name]}; --tcp, --udp and --other can be combined (default: all)",
        )
    add(
        "--pid",
        type=_value(values.listed(values.pid)),
        action="extend",
        metavar="PID",
        help="only processes with these ids",
    )
    add(
        "--user",
        type=_value(values.listed(values.uid)),
        action="extend",
        metavar="USER",
        help="only processes of these users, by name or uid",
    )
    add(
        "--process",
        type=_value(values.listed(values.name)),
        action="extend",
        metavar="NAME",
        help="only processes with these names; shell patterns such as 'nginx*' are allowed",
    )
    add(
        "--remote",
        type=_value(values.listed(values.network)),
        action="extend",
        metavar="ADDR|CIDR",
        help="only traffic to and from these addresses or networks",
    )
    add(
        "--loopback",
        choices=[choice.value for choice in Loopback],
        default=Loopback.SHOW.value,
        help="show traffic to and from 127.0.0.0/8 and ::1, hide it, or show nothing else (default show)",
    )


def _add_display(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--format", choices=values.FORMATS, help="output format (default table)")
    add(
        "-s",
        "--sort",
        type=_value(_order_name),
        default=DEFAULT_SORT,
        metavar="COLUMN",
        help="sort by this column (default rate); a leading - reverses the order",
    )
    add(
        "--limit",
        type=_value(values.whole(10**9)),
        metavar="N",
        help="show only the first N processes, or rows of a report",
    )
    add("--bits", action="store_true", help="show rates in bits per second (not in JSON and CSV)")
    add(
        "--no-bits",
        dest="bits",
        action="store_false",
        default=False,
        help="show rates in bytes per second (default)",
    )
    add(
        "--theme",
        choices=list(THEMES),
        help="colours of the full screen (default: light if $COLORFGBG has a light background, else dark)",
    )
    add("--no-resolve", action="store_true", help="do not resolve addresses to names")
    add(
        "--resolve",
        dest="no_resolve",
        action="store_false",
        default=False,
        help="resolve addresses to names (default)",
    )


def join_sort(arguments: Sequence[str]) -> list[str]:
    """Join "-s -pid" into one argument; argparse takes a value with a leading "-" for a flag."""
    reversed_columns = {f"-{column.id}" for column in ALL_COLUMNS}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("-s", "--sort") and argument in reversed_columns:
            joined[-1] = f"--sort={argument}"
        else:
            joined.append(argument)
    return joined
