"""The full screen, bwtop --batch and --demo: what somebody looks at."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bwtop.capture.session import Loading
from bwtop.identity.names import Names
from bwtop.measure.intervals import Live, SignalClock, Status, warner
from bwtop.measure.sources import Measurement
from bwtop.model import query
from bwtop.model.filter import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.modes import common, demo_traffic
from bwtop.options.config import Config
from bwtop.rights import account as accounts
from bwtop.text.stderr import discard_output, fail, say
from bwtop.tui.settings import Settings
from bwtop.view.columns import parse_order

_DEFAULT_ITERATIONS: Final = 5


def has_terminal() -> bool:
    """Both ways; Python has no stream for a descriptor that was closed."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def settings_of(options: argparse.Namespace, files: Config) -> Settings:
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


def run_screen(
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
        measurement = common.start_measuring(options, loading, notices.append, keep_kill=True)
        return replace(measurement, status=status) if status else measurement

    try:
        keymap = files.keymap or keys.DEFAULT
        origin = options.origin.url() if options.origin else ""
        start(
            loading, begin, settings_of(options, files), keymap, theme=options.theme, origin=origin
        )
    except TerminalLostError:
        discard_output()
    for notice in notices:
        if notice.startswith("not recorded"):
            say(notice)
    try:
        sys.stdout.flush()
    except OSError:  # the same, seen later
        discard_output()


def run_batch(options: argparse.Namespace, loading: Loading | None) -> None:
    """Prints intervals."""
    from bwtop.output import intervals as batch

    clock = SignalClock()
    if not options.batch and options.iterations is None:
        options.iterations = _DEFAULT_ITERATIONS
        say(f"no terminal here; printing {options.iterations} intervals (-n N for others)")
    measurement = common.start_measuring(options, loading, say)
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
    tap = warner(measurement.status, say) if measurement.following else measurement.tap
    live = Live(
        measurement.readings,
        common.filter_of(options),
        names,
        tap,
        measurement.period,
        to_the_end=measurement.to_the_end,
    )
    try:
        intervals = live.intervals(options.interval, clock)
        batch.run(intervals, options.format or "table", layout, options.iterations)
    finally:
        measurement.close()


def run_demo(options: argparse.Namespace, files: Config) -> None:
    """The screen beside processes that move bytes: forked first, so that they have nothing of what comes later."""
    if not has_terminal():
        fail("--demo shows the full screen, and there is no terminal here")
    with demo_traffic.Demo(accounts.unprivileged(os.environ), demo_traffic.SECONDS) as running:
        run_screen(options, files, common.load(options), running.status)
