"""From flags to one mode.

What only one mode needs is imported in it: after the loader has been started, which takes longer than that.
"""

import argparse
import io
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bwtop import config, demo, flags
from bwtop.capture import privileges
from bwtop.capture.backends import BACKENDS, named
from bwtop.capture.loader import Limits
from bwtop.capture.session import DEFAULT_LIMITS, CaptureError, Loading
from bwtop.columns import DEFAULT_SORT, parse_order
from bwtop.config import Config, ConfigError
from bwtop.flags import Given, Mode
from bwtop.fleet import client
from bwtop.fleet.client import Client, FleetError
from bwtop.fleet.shipper import Options as ShipTo
from bwtop.fleet.target import DATABASE, PasswordError, Target, password
from bwtop.history import location, ranges
from bwtop.history.schema import HistoryError, open_reader, plain
from bwtop.history.tiers import default_retention
from bwtop.history.upkeep import Policy
from bwtop.history.writer import Options
from bwtop.identity import users
from bwtop.identity.names import Names
from bwtop.live import Live, SignalClock, Status, warned
from bwtop.measuring import FOLLOW_SECONDS, NEEDS_ROOT, Measurement, follow, follow_fleet, measure
from bwtop.messages import CANNOT, fail, say
from bwtop.model import query
from bwtop.model.filter import Filter, Loopback
from bwtop.model.ledger import CLASSES
from bwtop.tui.settings import Settings

if TYPE_CHECKING:
    from bwtop.history.query import History
    from bwtop.web.archive import FleetArchive
    from bwtop.web.scrape import Scraped

_DEFAULT_ITERATIONS: Final = 5

_NEED_ROOT: Final = (Mode.CHECK, Mode.RECORD, Mode.DEMO)
"""Modes that cannot do with what another bwtop measures."""

_HISTORY_SORTS: Final = {
    "rate": "total",
    "total": "total",
    **dict.fromkeys(("rx", "rx_rate", "rx_total"), "rx"),
    **dict.fromkeys(("tx", "tx_rate", "tx_total"), "tx"),
}
"""What a column to sort by means for sums of the past."""


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(
        classes=frozenset(options.classes or ()),
        pids=frozenset(options.pid or ()),
        uids=frozenset(options.user or ()),
        names=tuple(options.process or ()),
        networks=tuple(options.remote or ()),
        loopback=Loopback(options.loopback),
        hosts=tuple(options.host or ()),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    _open_descriptors()
    try:
        _run(flags.parse(sys.argv[1:] if arguments is None else arguments))
    except (CaptureError, ConfigError, FleetError, PasswordError) as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"the history cannot be read any more: {error}")
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


def _run(given: Given) -> None:
    home = users.home(os.environ, os.geteuid())
    files = config.files(given, os.environ, home)
    if given.values.get(Mode.PRINT_CONFIG):
        sys.stdout.writelines(f"{line}\n" for line in config.spelled(given, files))
        return
    mode = given.mode(terminal=_has_terminal())
    options = given.options(mode, files.flags)
    if mode is Mode.HISTORY:
        _history(options)
        return
    if mode in (Mode.INIT, Mode.PRINT_SCHEMA):
        _make_tables(options, mode)
        return
    options.ship = _shipping(options)
    may_measure = privileges.may_load()
    if mode is Mode.SERVE:
        _serve(options, may_measure=may_measure)
        return
    if not (may_measure or options.origin) and (mode in _NEED_ROOT or options.no_record):
        fail(NEEDS_ROOT)
    if mode is Mode.CHECK:
        from bwtop import check

        sys.exit(0 if check.run(sys.stdout) else CANNOT)
    if mode is Mode.DEMO:
        _demo(options, files)
        return
    if mode is Mode.RECORD:
        _record(options)
        return
    loading = _load(options) if may_measure and not options.origin else None
    if mode is Mode.SCREEN:
        _screen(options, files, loading)
    else:
        _batch(options, loading)


def _path(options: argparse.Namespace) -> Path:
    """Where the history is."""
    home = users.home(os.environ, os.geteuid())
    found: Path = options.db or location.default_path(os.environ, home)
    return Path(os.path.realpath(found))  # a lock beside a link would not be beside the database


def _options(options: argparse.Namespace) -> Options | None:
    """How to record; None: not at all."""
    if options.no_record or options.demo:
        return None
    policy = Policy(options.retention or default_retention(), options.max_size)
    who = f"bwtop --{mode}" if (mode := _lasting_mode(options)) else "bwtop"
    return Options(_path(options), policy, cmdlines=options.store_cmdlines, who=who)


def _lasting_mode(options: argparse.Namespace) -> str:
    """The mode that others are told of when it records."""
    return "record" if options.record else "serve" if options.serve else ""


def _client(options: argparse.Namespace, target: Target, **settings: Any) -> Client:
    """Of the server that --ship or --from names; it connects when it is first asked."""
    if not client.load():
        fail(client.MISSING)
    return Client(target, _password(options), **settings)


def _password(options: argparse.Namespace) -> str:
    return password(options.password_file, os.environ)


def _shipping(options: argparse.Namespace) -> ShipTo | None:
    """Where what is recorded is sent; nothing is with --from."""
    if options.ship is None or options.origin:
        return None
    if not client.load():
        fail(client.MISSING)
    return ShipTo(options.ship, _password(options))


def _make_tables(options: argparse.Namespace, mode: Mode) -> None:
    from bwtop.fleet import schema

    retention, cluster = options.retention or schema.KEPT, options.cluster
    server = _client(options, options.ship, database=False) if options.ship else None
    database = options.ship.database if options.ship else DATABASE
    if mode is Mode.PRINT_SCHEMA:
        version = server.version if server else schema.TODAY
        sys.stdout.writelines(schema.printed(database, version, retention, cluster))
        return
    assert server, "--init comes with --ship"
    schema.create(server, database, retention, cluster)
    if server.version < schema.TODAY:
        say(
            "this server is too old to let go of old rows by itself; ALTER TABLE ... DROP PARTITION does it"
        )
    say(f"the tables are in {options.ship.url()}")


def _measure(
    options: argparse.Namespace,
    loading: Loading | None,
    notify: Callable[[str], None],
    *,
    keep_kill: bool = False,
    prepare: Callable[[], None] = lambda: None,
) -> Measurement:
    """Our own measurement; or another's for who may not measure, or that of many hosts."""
    if options.origin:
        server = _client(options, options.origin, patience=FOLLOW_SECONDS)
        privileges.drop(users.sudo_user(os.environ))
        return follow_fleet(server, _filter(options))
    if loading is None:
        return follow(_path(options))
    return measure(
        loading,
        _options(options),
        notify,
        ship=options.ship,
        keep_kill=keep_kill,
        prepare=prepare,
    )


def _history(options: argparse.Namespace) -> None:
    from bwtop.report import output
    from bwtop.report.request import Request

    path = _path(options)
    try:
        wanted = ranges.parse(options.history, time.time())
    except ranges.RangeError as error:
        fail(str(error))
    if options.sort.removeprefix("-") not in _HISTORY_SORTS:
        fail(f"--history sorts by total, rx or tx, not by {options.sort!r}")
    history = _past(options, path)
    form = options.format or "table"
    request = Request(
        wanted,
        by=options.by or (),
        keep=_filter(options),
        sort="" if options.sort == DEFAULT_SORT else _HISTORY_SORTS[options.sort.removeprefix("-")],
        reverse=options.sort.startswith("-"),
        limit=options.limit,
        bits=options.bits,
        names=None if options.no_resolve or form != "table" else Names(),
        host=None if options.origin else socket.gethostname(),
    )
    try:
        output.run(history, request, form, sys.stdout)
        sys.stdout.flush()
    except sqlite3.Error as error:
        fail(plain(error, path))


def _past(options: argparse.Namespace, path: Path) -> "History":
    """What is asked: many hosts' past, or this one's."""
    from bwtop.history.local import Local
    from bwtop.history.query import History

    if options.origin:
        from bwtop.fleet.past import Fleet

        server = _client(options, options.origin)
        privileges.drop(users.sudo_user(os.environ))  # there is nothing left for root to do
        return History(Fleet(server))
    try:
        _become_owner(path)
        return History(Local(open_reader(path)))
    except FileNotFoundError:
        fail(f"nothing has been recorded yet: there is no {path}; sudo bwtop records while it runs")
    except HistoryError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(plain(error, path))


def _become_owner(path: Path) -> None:
    """SQLite makes files beside the database, and root's would be in the way of whom it belongs to."""
    if os.geteuid() == 0:
        owner = location.owner(path, None)
        if owner[0] != 0:
            privileges.drop(owner)


def _record(options: argparse.Namespace) -> None:
    scraped = _scraped(options) if options.metrics else None
    loading = _load(options)
    from bwtop import record

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
    if scraped:
        measurement = scraped.watch.over(measurement)
        scraped.start()
        log(f"metrics on {scraped.url}", record.NOTICE)
    record.run(measurement, recorder, clock, log, tell)


def _scraped(options: argparse.Namespace) -> "Scraped":
    """Listens, before anything else, for who wants metrics."""
    from bwtop.metrics.table import NEEDED
    from bwtop.web.gate import Address
    from bwtop.web.tokens import TokenError, read_token

    try:
        from bwtop.web.scrape import Scraped
    except ImportError as error:
        fail(f"--metrics needs {NEEDED} ({error})")
    address = Address(*options.metrics)
    if options.token_file is None and not address.ip.is_loopback:
        fail("--metrics beyond loopback needs a token: --token-file PATH")
    try:
        token = read_token(options.token_file) if options.token_file else None
        return Scraped(address, token, options.allow_host or ())
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")


def _serve(options: argparse.Namespace, *, may_measure: bool) -> None:
    """Listens before anything else: a port that is taken is soon said, and low ones are root's."""
    from bwtop.web import files, serve
    from bwtop.web.archive import LocalArchive
    from bwtop.web.gate import Address
    from bwtop.web.server import Server
    from bwtop.web.tokens import TokenError, make_token, read_token

    if not may_measure and options.no_record and not options.origin:
        fail(NEEDS_ROOT)
    address = Address(*(options.bind or (flags.DEFAULT_HOST, flags.DEFAULT_PORT)))
    clock = SignalClock()
    try:
        token = read_token(options.token_file) if options.token_file else None
        served = files.load(options.chart_js)
        server = Server(address)
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")
    if token is None and not address.ip.is_loopback:
        token = make_token()
        say(f"the token, for programs (Authorization: Bearer ...): {token}")
    archive = LocalArchive(_path(options))
    wishes = serve.Wishes(
        _fleet_archive(options) if options.origin else archive,
        options.interval,
        token,
        options.allow_host or (),
        names=not options.no_resolve,
    )
    loading = _load(options) if may_measure and not options.origin else None
    service = serve.Service(server, served, wishes)
    if options.origin:
        privileges.drop(users.sudo_user(os.environ), keep=())
        service.start()
        service.remember(clock)
        service.stop()
    elif loading:
        measurement = _measure(options, loading, say, prepare=archive.keep)
        for degradation in measurement.degradations:
            say(degradation)
        service.start()
        say(f"measuring (backend: {measurement.backend})")
        try:
            service.measure(measurement, clock)
        finally:
            service.stop()
            measurement.close()
    else:
        service.start()
        service.follow(lambda: follow(_path(options)), clock)
        service.stop()


def _fleet_archive(options: argparse.Namespace) -> "FleetArchive":
    from bwtop.web.archive import FleetArchive

    target, secret = options.origin, _password(options)
    if not client.load():
        fail(client.MISSING)
    return FleetArchive(target.url(), lambda: Client(target, secret))


def _demo(options: argparse.Namespace, files: Config) -> None:
    """The screen beside processes that move bytes: forked first, so that they have nothing of what comes later."""
    if not _has_terminal():
        fail("--demo shows the full screen, and there is no terminal here")
    with demo.Demo(users.sudo_user(os.environ), demo.SECONDS) as running:
        _screen(options, files, _load(options), running.status)


def _has_terminal() -> bool:
    """Both ways; Python has no stream for a descriptor that was closed."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _settings(options: argparse.Namespace, files: Config) -> Settings:
    """The flags as the screen's keys would set them, so that the keys can change them."""
    return Settings(
        **files.settings(),
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


def _screen(
    options: argparse.Namespace,
    files: Config,
    loading: Loading | None,
    status: Callable[[], Status] | None = None,
) -> None:
    """What `status` says stands where the screen else says how it goes with the history."""
    try:
        from bwtop.tui import keys
        from bwtop.tui.app import start
        from bwtop.tui.terminal import TerminalLostError
    except ImportError as error:
        if loading:
            loading.abandon()
        fail(f"urwid is missing ({error}): apt install python3-urwid, or use --batch")
    notices: list[str] = []

    def begin() -> Measurement:
        measurement = _measure(options, loading, notices.append, keep_kill=True)
        return replace(measurement, status=status) if status else measurement

    try:
        keymap = files.keymap or keys.DEFAULT
        origin = options.origin.url() if options.origin else ""
        start(loading, begin, _settings(options, files), keymap, theme=options.theme, origin=origin)
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
    from bwtop import batch

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
        backend=measurement.backend or ("clickhouse" if options.origin else "history"),
        order=parse_order(options.sort),
        limit=options.limit,
        bits=options.bits,
        origin=options.origin.url() if options.origin else "",
    )
    live = Live(measurement.readings, _filter(options), names, measurement.tap, measurement.period)
    try:
        intervals = live.intervals(options.interval, clock)
        if measurement.following:
            intervals = warned(intervals, measurement.status, say)
        batch.run(intervals, options.format or "table", layout, options.iterations)
    finally:
        measurement.close()


def _load(options: argparse.Namespace) -> Loading:
    """Starts attaching the first backend that this kernel takes."""
    backends = [named(options.backend)] if options.backend else BACKENDS
    return Loading(backends, Limits(options.max_flows, DEFAULT_LIMITS.processes))
