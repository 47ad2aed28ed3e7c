"""All flags there are: what they are called, what their values may be, and which contradict each other."""

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
from bwtop.history.tiers import FOREVER, TIERS, parse_retention
from bwtop.model.filter import Loopback
from bwtop.options import values
from bwtop.text.escape import count
from bwtop.text.stderr import fail
from bwtop.tui.styles import THEMES
from bwtop.view.columns import ALL_COLUMNS, DEFAULT_SORT, parse_order

_EPILOG: Final = """\
columns to sort by:
{columns}

what is kept (--retention NAME=TIME,...; 90m, 36h, 30d, 2y, forever):
{tiers}

what --history can group --by:
{dimensions}

examples:
  sudo bwtop                                  the full screen; h there is its help
  sudo bwtop --demo                           the same, with some traffic to look at
  sudo bwtop --batch -n 5                     five intervals of a second
  sudo bwtop --batch --format json | jq .     one JSON object per interval
  sudo bwtop --batch --udp --sort tx_total    who sends most over UDP
  sudo bwtop --batch --remote 192.0.2.0/24    who talks to that network
  sudo bwtop --record                         measure and remember, without a screen
  sudo bwtop --record --metrics 127.0.0.1     and answer Prometheus, on port 8063
  sudo bwtop --serve                          the same in a browser, on http://127.0.0.1:8064/
  bwtop --history                             what was used today
  bwtop --history last-month --by user        and by whom last month
  bwtop --history 7d --remote 192.0.2.0/24    and of that, with one network
  sudo bwtop --record --ship clickhouse://bwtop@192.0.2.9/bwtop
                                              send what is recorded to a ClickHouse, too
  bwtop --history --from clickhouse://bwtop@192.0.2.9/bwtop --by host,process
                                              and what all hosts together used
  sudo bwtop --check                          what this kernel allows, and why not more

Counted is payload: what programs send and receive, without headers and
retransmissions. SIGINT, SIGTERM and SIGHUP end bwtop after a last, shorter
interval; a second one ends it at once.
Exit status: 0 when it did what was asked, 2 when it could not or a flag was wrong.
"""

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8064
METRICS_PORT: Final = 8063
"""Where the browser view is not, so that it can be had beside a service; of Prometheus' own range all are taken."""

T = TypeVar("T")


class Mode(StrEnum):
    """What bwtop is started for: the flag's name, but for the full screen, which has none."""

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
_LOOKING: Final = _SCREENS | _PRINTING

_OWN: Final = frozenset(
    {"db", "ship", "retention", "max_size", "backend", "no_record", "store_cmdlines"}
)
"""What is about this machine: who types one of these means no configured --from."""

MODES: Final = {
    "interval": _MEASURING,
    "iterations": frozenset({Mode.BATCH}),
    "backend": _MEASURING,
    "max_flows": _MEASURING,
    "classes": _LOOKING,
    "pid": _LOOKING,
    "user": _LOOKING,
    "process": _LOOKING,
    "remote": _LOOKING,
    "loopback": _LOOKING - {Mode.DEMO},
    "host": frozenset({Mode.HISTORY}),
    "format": _PRINTING,
    "sort": _SCREENS | {Mode.BATCH},
    "limit": _PRINTING,
    "bits": _LOOKING,
    "theme": _SCREENS,
    "no_resolve": _LOOKING | {Mode.SERVE},
    "db": _RECORDING | _PRINTING,
    "no_record": _RECORDING - {Mode.RECORD},
    "by": frozenset({Mode.HISTORY}),
    "ship": _RECORDING,
    "origin": frozenset({Mode.HISTORY, Mode.SERVE}),  # else no configured machine shows itself
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
"""What a configuration file may say, by the name that argparse has for it, and in which modes that counts.

Elsewhere it is ignored, unlike a flag that is given: `limit` in a file shall not make `bwtop --record` fail."""


class _Parser(argparse.ArgumentParser):
    """One line and exit status 2 for whatever is wrong."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        fail(f"{message} (see bwtop --help)")


@dataclass(frozen=True)
class ParsedFlags:
    """What somebody typed, and what flags are where nobody says anything; both by the names that argparse has."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def mode(self, *, terminal: bool) -> Mode:
        """What is asked for; terminal: whether there is one for a full screen."""
        for mode in Mode:
            if self.values.get(mode, None) not in (None, False):
                return mode
        printing = ("format", "iterations", "limit")
        return Mode.SCREEN if terminal and not self.values.keys() & set(printing) else Mode.BATCH

    def options(self, mode: Mode, configured: Mapping[str, Any]) -> argparse.Namespace:
        """All options, what is `configured` among them where the mode takes it."""
        taken = {name: value for name, value in configured.items() if mode in MODES[name]}
        if self.values.keys() & _OWN:
            taken.pop("origin", None)
        return argparse.Namespace(**{**self.defaults, **taken, **self.values})


def parse(arguments: Sequence[str]) -> ParsedFlags:
    """What arguments say; one line and exit status 2 where they are wrong."""
    top = parser()
    defaults = {a.dest: a.default for a in top._actions if a.default != argparse.SUPPRESS}
    for action in top._actions:
        action.default = argparse.SUPPRESS
    given = ParsedFlags(vars(top.parse_args(join_sort(arguments))), defaults)
    _check(top, given.options(Mode.CHECK, {}))
    return given


def _check(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Flags that contradict each other, or mean nothing without others."""
    if options.by and options.history is None:
        top.error("--by is for --history")
    is_kept = options.retention or options.max_size or options.store_cmdlines
    _check_fleet(top, options)
    if is_kept and (options.no_record or options.history is not None):
        top.error("--retention, --max-size and --store-cmdlines are for recording")
    if options.no_record and options.history is not None:
        top.error("--no-record is for measuring")
    if options.no_record and options.record:
        top.error("--record and --no-record contradict each other")
    printing = (options.iterations, options.limit, options.format)
    for mode in ("record", "serve", "demo"):
        if getattr(options, mode) and any(value is not None for value in printing):
            top.error(f"-n, --limit and --format are for printing, and --{mode} prints nothing")
    _check_serving(top, options)
    _check_demo(top, options)
    if options.history is not None and options.iterations is not None:
        top.error("-n is for measuring")


def _check_fleet(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    makes_tables = options.init or options.print_schema
    if options.init and not options.ship:
        top.error("--init needs --ship: it says where the tables are to be")
    if options.cluster and not makes_tables:
        top.error("--cluster is for --init and --print-schema")
    if options.ship and (options.no_record or options.history is not None or options.demo):
        top.error("--ship sends what is recorded: it is for recording")
    if options.origin and (options.record or options.check or options.demo or makes_tables):
        top.error("--from is for the full screen, --batch, --history and --serve")
    recorded = (options.db, options.ship, options.retention, options.max_size)
    own = (options.store_cmdlines, options.no_record, options.backend)
    is_sized = options.max_flows != DEFAULT_LIMITS.flows
    if options.origin and (any(recorded) or any(own) or is_sized):
        top.error("--from reads what others have recorded: nothing is measured or recorded with it")
    if options.origin and options.interval < 1:
        top.error("--from shows whole seconds: -d is 1 or more with it")
    if options.password_file and not (options.ship or options.origin):
        top.error("--password-file is for --ship and --from")
    if options.host and (options.serve or not (options.origin or options.history is not None)):
        top.error("--host is for --history and for what --from shows; a page has its own filter")


def _check_serving(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    filters = (options.classes, options.pid, options.user, options.process, options.remote)
    is_filtered = any(filters) or options.loopback != Loopback.SHOW.value
    if options.serve and is_filtered:
        top.error("--serve takes no filters: each page has its own")
    if options.serve and (options.sort != DEFAULT_SORT or options.bits or options.theme):
        top.error("--sort, --bits and --theme are not for --serve: each page has its own")
    if not options.serve and (options.bind or options.chart_js):
        top.error("--bind and --chart-js are for --serve")
    if options.metrics and not options.record:
        top.error("--metrics is for --record; --serve has /metrics anyway")
    is_listening = options.serve or options.record
    if (options.token_file or options.allow_host) and not is_listening:
        top.error("--token-file and --allow-host are for --serve and --record --metrics")
    if (options.trust_user or options.open) and not is_listening:
        top.error("--trust-user and --open are for --serve and --record --metrics")
    if fault := open_fault(options):
        top.error(fault)


def open_fault(options: argparse.Namespace) -> str | None:
    """Return what contradicts --open, None if nothing does; it may stand in a configuration file."""
    if not options.open:
        return None
    host, _ = options.bind or options.metrics or (DEFAULT_HOST, DEFAULT_PORT)
    if not ipaddress.ip_address(host).is_loopback:
        return f"--open is for loopback addresses, and {host} is not one: leave out --open"
    if options.token_file:
        return "--open lets everyone look, --token-file does not: leave out one of them"
    return None


def _check_demo(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    kept = (options.db, options.retention, options.max_size, options.store_cmdlines)
    if options.demo and any(kept):
        top.error(
            "--db, --retention, --max-size and --store-cmdlines are for the history,"
            " and --demo records nothing"
        )
    if options.demo and options.loopback == Loopback.HIDE.value:
        top.error("--loopback hide would hide all that --demo moves")


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """As argparse wants it: of a ValueError it would not show the text."""

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
    """All flags there are."""
    columns = "\n".join(f"  {column.id:<10} {column.help}" for column in ALL_COLUMNS)
    tiers = "\n".join(f"  {t.name:<10} {kept(t.seconds):<10} {t.help}" for t in TIERS)
    ways = "\n".join(f"  {d.name:<10} {d.help}" for d in DIMENSIONS)
    top = _Parser(
        prog="bwtop",
        description="Which process moves how many bytes, to and from which remote address.",
        epilog=_EPILOG.format(columns=columns, tiers=tiers, dimensions=ways),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    modes = top.add_argument_group("modes").add_mutually_exclusive_group()
    modes.add_argument("--batch", action="store_true", help="print intervals on standard output")
    modes.add_argument(
        "--record", action="store_true", help="measure for the history alone, as a service does"
    )
    modes.add_argument(
        "--history",
        nargs="?",
        const="today",
        metavar="RANGE",
        help=f"what was used: {ranges.HELP} (default today)",
    )
    modes.add_argument(
        "--serve", action="store_true", help="show it in a browser, and answer programs"
    )
    modes.add_argument(
        "--check", action="store_true", help="say what this kernel allows, and why not more"
    )
    modes.add_argument(
        "--demo",
        action="store_true",
        help="the full screen, and for ten minutes some traffic on loopback to look at; not recorded",
    )
    modes.add_argument(
        "--init",
        action="store_true",
        help="make the tables in the ClickHouse that --ship names, where they are missing",
    )
    modes.add_argument(
        "--print-schema", action="store_true", help="print what --init would send, as SQL"
    )
    modes.add_argument(
        "--print-config",
        action="store_true",
        help="print what the configuration files and flags come to, as such a file",
    )
    modes.add_argument("--version", action="version", version=f"bwtop {__version__}")
    _add_measuring(top.add_argument_group("measuring"))
    _add_filters(
        top.add_argument_group(
            "what to count", "Conditions that all must hold; lists are comma separated."
        )
    )
    _add_display(top.add_argument_group("how to show it"))
    _add_history(top.add_argument_group("what is remembered"))
    _add_fleet(top.add_argument_group("many hosts"))
    _add_serving(top.add_argument_group("the browser view, and metrics"))
    _add_configuration(top.add_argument_group("configuration"))
    return top


def _add_configuration(group: argparse._ArgumentGroup) -> None:
    files = group.add_mutually_exclusive_group()
    files.add_argument(
        "--config",
        type=_value(values.file),
        metavar="PATH",
        help="read this file (default: /etc/bwtop/config.toml, then ~/.config/bwtop/config.toml)",
    )
    files.add_argument("--no-config", action="store_true", help="read no configuration file")


def _add_fleet(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--ship",
        type=_value(target.parse),
        metavar="URL",
        help="send what is recorded to this ClickHouse, clickhouse://user@host:9000/database; clickhouses:// is TLS",
    )
    add(
        "--from",
        dest="origin",
        type=_value(target.parse),
        metavar="URL",
        help="show what all hosts have sent there, live or as history, instead of this machine",
    )
    add(
        "--password-file",
        type=_value(values.file),
        metavar="PATH",
        help=f"the password for it is in this file (default: {target.PASSWORD} of the environment, or none)",
    )
    add(
        "--host",
        type=_value(values.listed(values.machine)),
        action="extend",
        metavar="NAME",
        help="only what these machines have sent; shell patterns like 'web*' are understood",
    )
    add(
        "--cluster",
        type=_value(values.cluster),
        metavar="NAME",
        help="make tables that are replicated and distributed over this cluster of ClickHouse's",
    )


def _add_serving(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--bind",
        type=_value(values.endpoint(DEFAULT_PORT)),
        metavar="ADDR:PORT",
        help=f"listen there (default {DEFAULT_HOST}:{DEFAULT_PORT}); beyond loopback everyone needs the token",
    )
    add(
        "--metrics",
        type=_value(values.endpoint(METRICS_PORT)),
        metavar="ADDR:PORT",
        help="with --record, answer Prometheus there, such as on"
        f" {DEFAULT_HOST}:{METRICS_PORT}; beyond loopback with --token-file",
    )
    add(
        "--token-file",
        type=_value(values.file),
        metavar="PATH",
        help="the token is in this file (default: a new one, which is printed; with --metrics none)",
    )
    add(
        "--trust-user",
        type=_value(values.listed(values.uid)),
        action="extend",
        metavar="NAME",
        help="on loopback this user needs no token either, such as a proxy's or prometheus",
    )
    add(
        "--open",
        action="store_true",
        help="on loopback let every user of this machine look, without a token",
    )
    add(
        "--allow-host",
        type=_value(values.host),
        action="append",
        metavar="NAME",
        help="a name that this host may be called by, such as a proxy's",
    )
    add(
        "--chart-js",
        type=_value(values.file),
        metavar="PATH",
        help="Chart.js (default: that of Debian's libjs-chart.js)",
    )


def kept(seconds: float) -> str:
    """How long something is kept, for people."""
    if seconds == FOREVER:
        return "for ever"
    days = round(seconds / 86400)
    return count(days, "day") if days else count(round(seconds / 3600), "hour")


def _add_history(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--db",
        type=Path,
        metavar="PATH",
        help="the history (default: BWTOP_DB, the service's, yours)",
    )
    add("--no-record", action="store_true", help="measure without remembering")
    add(
        "--by",
        type=_value(parse_several),
        metavar="WHAT",
        help="group --history by these, comma separated (see below)",
    )
    add(
        "--retention",
        type=_value(parse_retention),
        metavar="NAME=TIME",
        help="for how long what is kept (see below)",
    )
    add(
        "--max-size",
        type=_value(values.size),
        metavar="SIZE",
        help="of the history, such as 200M; beyond it the oldest detail goes first, sums by day stay",
    )
    add(
        "--store-cmdlines",
        action="store_true",
        help="keep command lines with the seconds, for others to see; they may hold secrets",
    )


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-d",
        "--interval",
        type=_value(values.seconds),
        default=1.0,
        metavar="SEC",
        help="length of an interval, 0.1 to 3600 seconds (default 1)",
    )
    add(
        "-n",
        "--iterations",
        type=_value(values.whole(10**9)),
        metavar="N",
        help="stop after N intervals (default: never)",
    )
    add("--backend", choices=[b.name for b in BACKENDS], help="use this backend or none")
    add(
        "--max-flows",
        type=_value(values.whole(1 << 22)),
        default=DEFAULT_LIMITS.flows,
        metavar="N",
        help="flows that may be active within a second; beyond, a process's further remotes"
        f" become '*' (default {DEFAULT_LIMITS.flows})",
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
            help=f"only {_CLASSES[name]} (default: all; several add up)",
        )
    add(
        "--pid",
        type=_value(values.listed(values.pid)),
        action="extend",
        metavar="PID",
        help="only these processes",
    )
    add(
        "--user",
        type=_value(values.listed(values.uid)),
        action="extend",
        metavar="USER",
        help="only processes of these users, by name or number",
    )
    add(
        "--process",
        type=_value(values.listed(values.name)),
        action="extend",
        metavar="NAME",
        help="only processes of these names; shell patterns like 'nginx*' are understood",
    )
    add(
        "--remote",
        type=_value(values.listed(values.network)),
        action="extend",
        metavar="ADDR|CIDR",
        help="only what goes to and comes from these addresses or networks",
    )
    add(
        "--loopback",
        choices=[choice.value for choice in Loopback],
        default=Loopback.SHOW.value,
        help="remotes in 127.0.0.0/8 and ::1 (default show)",
    )


def _add_display(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--format", choices=values.FORMATS, help="form of what is printed (default table)")
    add(
        "-s",
        "--sort",
        type=_value(_order_name),
        default=DEFAULT_SORT,
        metavar="COLUMN",
        help="sort by this column (default rate); a leading - reverses",
    )
    add(
        "--limit",
        type=_value(values.whole(10**9)),
        metavar="N",
        help="show the first N processes only",
    )
    add("--bits", action="store_true", help="rates of tables in bits per second")
    add(
        "--no-bits",
        dest="bits",
        action="store_false",
        default=False,
        help="rates of tables in bytes per second (default)",
    )
    add(
        "--theme",
        choices=list(THEMES),
        help="colours of the full screen (default: dark, or light where COLORFGBG says so)",
    )
    add("--no-resolve", action="store_true", help="do not look up names of addresses")
    add(
        "--resolve",
        dest="no_resolve",
        action="store_false",
        default=False,
        help="do look up names of addresses (default)",
    )


def join_sort(arguments: Sequence[str]) -> list[str]:
    """Makes "-s -pid" one argument: argparse takes a value with a leading "-" for a flag."""
    reversed_columns = {f"-{column.id}" for column in ALL_COLUMNS}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("-s", "--sort") and argument in reversed_columns:
            joined[-1] = f"--sort={argument}"
        else:
            joined.append(argument)
    return joined
