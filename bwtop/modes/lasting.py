"""bwtop --record and --serve: what goes on without a terminal."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from bwtop.clickhouse.client import READ_SECONDS, Client
from bwtop.measure.intervals import SignalClock
from bwtop.measure.sources import NEEDS_ROOT, follow
from bwtop.modes import access, common
from bwtop.options import flags
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.text.stderr import CANNOT, fail, say

if TYPE_CHECKING:
    from bwtop.web.archive import FleetArchive
    from bwtop.web.scrape import Scraped


def run_record(options: argparse.Namespace) -> None:
    """Measures for the history alone, until it is told to end."""
    scraped = _scraped(options) if options.metrics else None
    loading = common.load(options)
    from bwtop.modes import service as record

    clock = SignalClock()
    log = record.Log(sys.stderr, os.environ)
    measurement = common.start_measuring(options, loading, log)
    tell = record.notifier(os.environ)
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
        if options.open:
            log(access.OPEN, record.NOTICE)
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
    access.check(options)
    address = Address(*options.metrics)
    if options.token_file is None and not address.ip.is_loopback:
        fail("--metrics beyond loopback needs a token: --token-file PATH")
    try:
        token = read_token(options.token_file, os.environ) if options.token_file else None
        return Scraped(address, token, options.allow_host or (), access.trusted(options))
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")


def run_serve(options: argparse.Namespace, *, may_measure: bool) -> None:
    """Listens before anything else: a port that is taken is soon said, and low ones are root's."""
    from bwtop.web import files, serve
    from bwtop.web.archive import LocalArchive
    from bwtop.web.gate import Address
    from bwtop.web.server import Server
    from bwtop.web.tokens import TokenError, make_token, read_token

    if not may_measure and options.no_record and not options.origin:
        fail(NEEDS_ROOT)
    access.check(options)
    trusted = access.trusted(options)
    address = Address(*(options.bind or (flags.DEFAULT_HOST, flags.DEFAULT_PORT)))
    clock = SignalClock()
    try:
        token = read_token(options.token_file, os.environ) if options.token_file else None
        served = files.load(options.chart_js, os.environ)
        server = Server(address)
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")
    made = None if token or options.open else make_token()
    access.tell(address, trusted, options.token_file, made)
    place = common.history(options)
    archive = LocalArchive(place.path)
    wishes = serve.Wishes(
        _fleet_archive(options) if options.origin else archive,
        options.interval,
        token or made,
        options.allow_host or (),
        trusted,
        names=not options.no_resolve,
    )
    loading = common.load(options) if may_measure and not options.origin else None
    service = serve.Service(server, served, wishes)
    if options.origin:
        confine(accounts.unprivileged(os.environ))
        service.start()
        service.remember(clock)
        service.stop()
    elif loading:
        measurement = common.start_measuring(options, loading, say, prepare=archive.keep)
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
        confine(place.account or accounts.unprivileged(os.environ), place.path)
        service.start()
        service.follow(lambda: follow(place.path), clock)
        service.stop()


def _fleet_archive(options: argparse.Namespace) -> "FleetArchive":
    from bwtop.web.archive import FleetArchive

    target, secret = options.origin, common.password_of(options)
    common.need_driver()
    return FleetArchive(target.url(), lambda: Client(target, secret, patience=READ_SECONDS))
