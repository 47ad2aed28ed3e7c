"""Flags to one mode.  Nothing else parses flags."""

import argparse
import contextlib
import io
import os
import pwd
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from bwtop import __version__, batch, check
from bwtop.capture import privileges
from bwtop.capture.backends import BACKENDS, named
from bwtop.capture.loader import Limits
from bwtop.capture.session import DEFAULT_LIMITS, CaptureError, Loading
from bwtop.columns import DEFAULT_SORT, PROCESS_COLUMNS, parse_order
from bwtop.identity.names import Names
from bwtop.live import Live, SignalClock
from bwtop.model import query
from bwtop.model.filter import Filter, Loopback, Network, parse_network
from bwtop.model.ledger import CLASSES
from bwtop.text import printable
from bwtop.tui.settings import Settings
from bwtop.tui.styles import THEMES

CANNOT: Final = 2
"""Exit status when bwtop cannot do what was asked."""

_DEFAULT_ITERATIONS: Final = 5

_EPILOG: Final = """\
columns to sort by:
{columns}

examples:
  sudo bwtop                                  the full screen; h there is its help
  sudo bwtop --batch -n 5                     five intervals of a second
  sudo bwtop --batch --format json | jq .     one JSON object per interval
  sudo bwtop --batch --udp --sort tx_total    who sends most over UDP
  sudo bwtop --batch --remote 192.0.2.0/24    who talks to that network
  sudo bwtop --check                          what this kernel allows, and why not more

Counted is payload: what programs send and receive, without headers and
retransmissions. SIGINT, SIGTERM and SIGHUP end bwtop after a last, shorter
interval; a second one ends it at once.
Exit status: 0 when it measured, 2 when it could not or a flag was wrong.
"""


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
    top = _Parser(
        prog="bwtop",
        description="Which process moves how many bytes, to and from which remote address.",
        epilog=_EPILOG.format(columns=columns),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    modes = top.add_argument_group("modes").add_mutually_exclusive_group()
    modes.add_argument("--batch", action="store_true", help="print intervals on standard output")
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
    return top


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
        fail(error.strerror or str(error))
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
    if os.geteuid() != 0:
        fail("measuring needs root; try: sudo bwtop")
    if options.check:
        sys.exit(0 if check.run(sys.stdout) else CANNOT)
    if _wants_screen(options) and sys.stdin.isatty() and sys.stdout.isatty():
        _screen(options)
    else:
        _batch(options)


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


def _screen(options: argparse.Namespace) -> None:
    """The loader starts before the screen's libraries are imported: it takes longer than they do."""
    loading = _load(options)
    try:
        from bwtop.tui.app import start
        from bwtop.tui.terminal import TerminalLostError
    except ImportError as error:
        loading.abandon()
        fail(f"urwid is missing ({error}): apt install python3-urwid, or use --batch")
    try:
        start(loading, _settings(options), theme=options.theme)
    except TerminalLostError:
        _discard_output()
    try:
        sys.stdout.flush()
    except OSError:  # the same, seen later
        _discard_output()


def _batch(options: argparse.Namespace) -> None:
    clock = SignalClock()
    if not options.batch and options.iterations is None:
        options.iterations = _DEFAULT_ITERATIONS
        say(f"no terminal here; printing {options.iterations} intervals (-n N for others)")
    capture = _load(options).start()
    for degradation in capture.report.degradations():
        say(degradation)
    say(f"measuring (backend: {capture.report.backend.name})")
    privileges.drop()
    names = None if options.no_resolve else Names()
    layout = batch.Layout(
        backend=capture.report.backend.name,
        order=parse_order(options.sort),
        limit=options.limit,
        bits=options.bits,
    )
    intervals = Live(capture, _filter(options), names).intervals(options.interval, clock)
    batch.run(intervals, options.format or "table", layout, options.iterations)


def _load(options: argparse.Namespace) -> Loading:
    """Starts attaching the first backend that this kernel takes."""
    backends = [named(options.backend)] if options.backend else BACKENDS
    return Loading(backends, Limits(options.max_flows, DEFAULT_LIMITS.processes))
