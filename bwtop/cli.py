"""Flags to one mode.  Nothing else parses flags."""

import argparse
import contextlib
import io
import os
import pwd
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from bwtop import __version__, batch, check, record
from bwtop.capture import privileges
from bwtop.capture.backends import BACKENDS, named
from bwtop.capture.loader import Limits
from bwtop.capture.session import DEFAULT_LIMITS, CaptureError, Loading
from bwtop.columns import DEFAULT_SORT, PROCESS_COLUMNS, parse_order
from bwtop.format import count
from bwtop.history import location, ranges
from bwtop.history.dimensions import DIMENSIONS, Dimension
from bwtop.history.dimensions import parse as parse_dimension
from bwtop.history.query import History
from bwtop.history.schema import HistoryError, open_reader, plain
from bwtop.history.tiers import FOREVER, TIERS, default_retention, parse_retention
from bwtop.history.upkeep import Policy
from bwtop.history.writer import Options
from bwtop.identity import users
from bwtop.identity.names import Names
from bwtop.live import Live, SignalClock
from bwtop.measuring import NEEDS_ROOT, Measurement, follow, measure
from bwtop.model import query
from bwtop.model.filter import Filter, Loopback, Network, parse_network
from bwtop.model.ledger import CLASSES
from bwtop.report import output
from bwtop.report.request import Request
from bwtop.text import printable
from bwtop.tui.settings import Settings
from bwtop.tui.styles import THEMES

CANNOT: Final = 2
"""Exit status when bwtop cannot do what was asked."""

_DEFAULT_ITERATIONS: Final = 5

_EPILOG: Final = """\
columns to sort by:
{columns}

what is kept (--retention NAME=TIME,...; 90m, 36h, 30d, 2y, forever):
{tiers}

what --history can group --by:
{dimensions}

examples:
  sudo bwtop                                  the full screen; h there is its help
  sudo bwtop --batch -n 5                     five intervals of a second
  sudo bwtop --batch --format json | jq .     one JSON object per interval
  sudo bwtop --batch --udp --sort tx_total    who sends most over UDP
  sudo bwtop --batch --remote 192.0.2.0/24    who talks to that network
  sudo bwtop --record                         measure and remember, without a screen
  bwtop --history                             what was used today
  bwtop --history last-month --by user        and by whom last month
  bwtop --history 7d --remote 192.0.2.0/24    and of that, with one network
  sudo bwtop --check                          what this kernel allows, and why not more

Counted is payload: what programs send and receive, without headers and
retransmissions. SIGINT, SIGTERM and SIGHUP end bwtop after a last, shorter
interval; a second one ends it at once.
Exit status: 0 when it did what was asked, 2 when it could not or a flag was wrong.
"""

_HISTORY_SORTS: Final = {
    "rate": "total",
    "total": "total",
    **dict.fromkeys(("rx", "rx_rate", "rx_total"), "rx"),
    **dict.fromkeys(("tx", "tx_rate", "tx_total"), "tx"),
}
"""What a column to sort by means for sums of the past."""


T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    """One line and exit status 2 for whatever is wrong."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        fail(f"{message} (see bwtop --help)")


def fail(message: str) -> NoReturn:
    """Ends with one line on standard error."""
    say(message)
    sys.exit(CANNOT)


def say(message: str) -> None:
    """One line on standard error; a closed one is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"bwtop: {printable(' '.join(message.split()))}\n")
        sys.stderr.flush()


def _bad(text: str, wanted: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is not {wanted}")


def _seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]*\.?[0-9]+", text, re.ASCII) and 0.1 <= float(text) <= 3600:
        return float(text)
    raise _bad(text, "a number of seconds from 0.1 to 3600")


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if _is_number(text) and 1 <= int(text) <= most:
            return int(text)
        raise _bad(text, f"a whole number from 1 to {most}")

    return parse


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) is not None


def _pid(text: str) -> int:
    if _is_number(text):
        return int(text)
    raise _bad(text, "a process id")


def _uid(text: str) -> int:
    if _is_number(text) and int(text) < 1 << 32:
        return int(text)
    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwnam(text).pw_uid
    raise argparse.ArgumentTypeError(f"there is no user {text!r}")


def _name(text: str) -> str:
    if text:
        return text
    raise _bad(text, "a process's name")


def _network(text: str) -> Network:
    if "%" in text:
        raise _bad(text, "an address without a scope: flows have none")
    try:
        return parse_network(text)
    except ValueError:
        raise _bad(text, "an address or a network") from None


def _order_name(text: str) -> str:
    try:
        parse_order(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _list(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    """For flags that take several values, comma separated."""
    return lambda text: [parse(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    """All flags there are."""
    columns = "\n".join(f"  {column.id:<10} {column.help}" for column in PROCESS_COLUMNS)
    tiers = "\n".join(f"  {t.name:<10} {_kept(t.seconds):<10} {t.help}" for t in TIERS)
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
        "--check", action="store_true", help="say what this kernel allows, and why not more"
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
    return top


def _kept(seconds: float) -> str:
    """A length of time for people."""
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
        type=_list(_dimension),
        metavar="WHAT",
        help="group --history by these, comma separated (see below)",
    )
    add(
        "--retention",
        type=_retention,
        metavar="NAME=TIME",
        help="how long what is kept (see below)",
    )
    add(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="of the history, such as 200M: beyond it the oldest detail goes first, sums by day stay",
    )
    add(
        "--store-cmdlines",
        action="store_true",
        help="keep command lines with the seconds, for others to see; they may hold secrets",
    )


def _file(text: str) -> Path:
    if not text or text.endswith("/"):
        raise _bad(text, "a file's path")
    return Path(text)


def _dimension(text: str) -> Dimension:
    try:
        return parse_dimension(text.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _retention(text: str) -> dict[str, float]:
    try:
        return parse_retention(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([KMGT])(i?B)?", text, re.ASCII | re.IGNORECASE)
    if not found:
        raise _bad(text, "a size such as 200M or 2G")
    size = int(found[1]) << 10 * (1 + "KMGT".index(found[2].upper()))
    if size < 1 << 20:
        raise _bad(text, "a size of 1M or more")
    return size


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-d",
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SEC",
        help="length of an interval, 0.1 to 3600 seconds (default 1)",
    )
    add(
        "-n",
        "--iterations",
        type=_count(10**9),
        metavar="N",
        help="stop after N intervals (default: never)",
    )
    add("--backend", choices=[b.name for b in BACKENDS], help="use this backend or none")
    add(
        "--max-flows",
        type=_count(1 << 22),
        default=DEFAULT_LIMITS.flows,
        metavar="N",
        help="flows that may be active within a second; beyond, a process's further remotes"
        " become '*' (default %(default)s)",
    )


def _add_filters(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for name in ("tcp", "udp", "other"):
        add(
            f"--{name}",
            dest="classes",
            action="append_const",
            const=name,
            help=f"count {name} (default: all three)",
        )
    add("--pid", type=_list(_pid), action="extend", metavar="PID", help="these processes")
    add("--user", type=_list(_uid), action="extend", metavar="USER", help="names or numbers")
    add(
        "--process",
        type=_list(_name),
        action="extend",
        metavar="NAME",
        help="process names; shell patterns like 'nginx*' are understood",
    )
    add(
        "--remote",
        type=_list(_network),
        action="extend",
        metavar="ADDR|CIDR",
        help="remote addresses or networks",
    )
    add(
        "--loopback",
        choices=[choice.value for choice in Loopback],
        default=Loopback.SHOW.value,
        help="remotes in 127.0.0.0/8 and ::1 (default show)",
    )


def _add_display(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--format", choices=list(batch.FORMATS), help="of what is printed (default table)")
    add(
        "-s",
        "--sort",
        type=_order_name,
        default=DEFAULT_SORT,
        metavar="COLUMN",
        help="sort by this column (default rate); a leading - reverses",
    )
    add("--limit", type=_count(10**9), metavar="N", help="show the first N processes only")
    add("--bits", action="store_true", help="rates of tables in bits per second")
    add(
        "--theme",
        choices=list(THEMES),
        help="colours of the full screen (default: dark, or light where COLORFGBG says so)",
    )
    add("--no-resolve", action="store_true", help="do not look up names of addresses")


def _join_sort(arguments: Sequence[str]) -> list[str]:
    """Makes "-s -pid" one argument: argparse takes a value with a leading "-" for a flag."""
    reversed_columns = {f"-{column.id}" for column in PROCESS_COLUMNS}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("-s", "--sort") and argument in reversed_columns:
            joined[-1] = f"--sort={argument}"
        else:
            joined.append(argument)
    return joined


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(
        classes=frozenset(options.classes or ()),
        pids=frozenset(options.pid or ()),
        uids=frozenset(options.user or ()),
        names=tuple(options.process or ()),
        networks=tuple(options.remote or ()),
        loopback=Loopback(options.loopback),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    _open_descriptors()
    try:
        _run(parser().parse_args(_join_sort(sys.argv[1:] if arguments is None else arguments)))
    except CaptureError as error:
        fail(str(error))
    except BrokenPipeError:
        _discard_output()  # whoever read it has enough
    except OSError as error:
        _discard_output()
        where = f": {error.filename}" if error.filename else ""
        fail(f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _open_descriptors() -> None:
    """Makes sure that 0, 1 and 2 are taken, so that no map or socket becomes standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    if sys.stdout is None:
        fail("standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Python writes at its end what is still buffered: not there, where it failed once."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> None:
    _check_combination(options)
    if options.history is not None:
        _history(options)
        return
    is_root = os.geteuid() == 0
    if not is_root and (options.check or options.record or options.no_record):
        fail(NEEDS_ROOT)
    if options.check:
        sys.exit(0 if check.run(sys.stdout) else CANNOT)
    loading = _load(options) if is_root else None
    if options.record:
        _record(options, loading)
    elif _wants_screen(options) and sys.stdin.isatty() and sys.stdout.isatty():
        _screen(options, loading)
    else:
        _batch(options, loading)


def _check_combination(options: argparse.Namespace) -> None:
    """Flags that contradict each other, or mean nothing without others."""
    if options.by and options.history is None:
        fail("--by is for --history (see bwtop --help)")
    is_kept = options.retention or options.max_size or options.store_cmdlines
    if is_kept and (options.no_record or options.history is not None):
        fail("--retention, --max-size and --store-cmdlines are for recording (see bwtop --help)")
    if options.no_record and options.history is not None:
        fail("--no-record is for measuring (see bwtop --help)")
    if options.no_record and options.record:
        fail("--record and --no-record contradict each other (see bwtop --help)")
    printing = (options.iterations, options.limit, options.format)
    if options.record and any(value is not None for value in printing):
        fail("-n, --limit and --format are for printing, and --record prints nothing")
    if options.history is not None and options.iterations is not None:
        fail("-n is for measuring (see bwtop --help)")


def _path(options: argparse.Namespace) -> Path:
    """Where the history is."""
    home = users.home(os.environ, os.geteuid())
    found: Path = options.db or location.default_path(os.environ, home)
    return Path(os.path.realpath(found))  # a lock beside a link would not be beside the database


def _options(options: argparse.Namespace) -> Options | None:
    """How to record; None: not at all."""
    if options.no_record:
        return None
    policy = Policy(options.retention or default_retention(), options.max_size)
    who = "bwtop --record" if options.record else "bwtop"
    return Options(_path(options), policy, cmdlines=options.store_cmdlines, who=who)


def _measure(
    options: argparse.Namespace,
    loading: Loading | None,
    notify: Callable[[str], None],
    *,
    keep_kill: bool = False,
) -> Measurement:
    """Our own measurement, or another's for who may not measure."""
    if loading is None:
        return follow(_path(options))
    return measure(loading, _options(options), notify, keep_kill=keep_kill)


def _history(options: argparse.Namespace) -> None:
    path = _path(options)
    try:
        wanted = ranges.parse(options.history, time.time())
        if options.sort.removeprefix("-") not in _HISTORY_SORTS:
            fail(f"--history sorts by total, rx or tx, not by {options.sort!r}")
        _become_owner(path)
        history = History(open_reader(path))
    except FileNotFoundError:
        fail(f"nothing has been recorded yet: there is no {path}; sudo bwtop records while it runs")
    except (ranges.RangeError, HistoryError) as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(plain(error, path))
    form = options.format or "table"
    request = Request(
        wanted,
        by=options.by or (),
        keep=_filter(options),
        sort=_HISTORY_SORTS[options.sort.removeprefix("-")],
        reverse=options.sort.startswith("-"),
        limit=options.limit,
        bits=options.bits,
        names=None if options.no_resolve or form != "table" else Names(),
    )
    try:
        output.run(history, request, form, sys.stdout)
        sys.stdout.flush()
    except sqlite3.Error as error:
        fail(plain(error, path))


def _become_owner(path: Path) -> None:
    """SQLite makes files beside the database, and root's would be in the way of whom it belongs to."""
    if os.geteuid() == 0:
        owner = location.owner(path, None)
        if owner[0] != 0:
            privileges.drop(owner)


def _record(options: argparse.Namespace, loading: Loading | None) -> None:
    clock = SignalClock()
    log = record.Log(sys.stderr, os.environ)
    tell = record.notifier(os.environ)
    measurement = _measure(options, loading, log)
    recorder = measurement.recorder
    assert recorder, "--record comes without --no-record"
    if recorder.state.other or recorder.state.is_lasting:
        sys.exit(CANNOT)  # it has said why
    for degradation in measurement.degradations:
        log(degradation)
    record.run(measurement, recorder, clock, log, tell)


def _wants_screen(options: argparse.Namespace) -> bool:
    """Whether there is somebody to look at a screen, and nothing was asked for that only --batch has."""
    asked = (options.format, options.iterations, options.limit)
    return not options.batch and all(value is None for value in asked)


def _settings(options: argparse.Namespace) -> Settings:
    """The flags as the screen's keys would set them, so that the keys can change them."""
    return Settings(
        classes=frozenset(options.classes or CLASSES),
        loopback=Loopback(options.loopback),
        filter=query.spell(
            {
                "pid": options.pid,
                "user": options.user,
                "name": options.process,
                "remote": options.remote,
            }
        ),
        order=parse_order(options.sort),
        bits=options.bits,
        names=not options.no_resolve,
        interval=options.interval,
    )


def _screen(options: argparse.Namespace, loading: Loading | None) -> None:
    """The loader starts before the screen's libraries are imported: it takes longer than they do."""
    try:
        from bwtop.tui.app import start
        from bwtop.tui.terminal import TerminalLostError
    except ImportError as error:
        if loading:
            loading.abandon()
        fail(f"urwid is missing ({error}): apt install python3-urwid, or use --batch")
    notices: list[str] = []

    def begin() -> Measurement:
        return _measure(options, loading, notices.append, keep_kill=True)

    try:
        start(loading, begin, _settings(options), theme=options.theme)
    except TerminalLostError:
        _discard_output()
    for notice in notices:
        if notice.startswith("not recorded"):
            say(notice)
    try:
        sys.stdout.flush()
    except OSError:  # the same, seen later
        _discard_output()


def _batch(options: argparse.Namespace, loading: Loading | None) -> None:
    clock = SignalClock()
    if not options.batch and options.iterations is None:
        options.iterations = _DEFAULT_ITERATIONS
        say(f"no terminal here; printing {options.iterations} intervals (-n N for others)")
    measurement = _measure(options, loading, say)
    for degradation in measurement.degradations:
        say(degradation)
    if measurement.following:
        say(f"watching {measurement.status().words}")
    else:
        say(f"measuring (backend: {measurement.backend})")
    names = None if options.no_resolve else Names()
    layout = batch.Layout(
        backend=measurement.backend or "history",
        order=parse_order(options.sort),
        limit=options.limit,
        bits=options.bits,
    )
    live = Live(measurement.readings, _filter(options), names, measurement.tap)
    try:
        intervals = live.intervals(options.interval, clock)
        batch.run(intervals, options.format or "table", layout, options.iterations)
    finally:
        measurement.close()


def _load(options: argparse.Namespace) -> Loading:
    """Starts attaching the first backend that this kernel takes."""
    backends = [named(options.backend)] if options.backend else BACKENDS
    return Loading(backends, Limits(options.max_flows, DEFAULT_LIMITS.processes))
