"""bwtop --serve: the browser view and its API."""

import os
from contextlib import closing
from typing import TYPE_CHECKING

from bwtop.clickhouse.shipper import ShippingOptions
from bwtop.measure.intervals import SignalClock
from bwtop.measure.sources import NEEDS_ROOT, follow
from bwtop.measure.stopping import finishing
from bwtop.modes import access, common
from bwtop.modes.past import access_of
from bwtop.options.flags import DEFAULT_HOST, DEFAULT_PORT, Options
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.sqlite.location import Place
from bwtop.text.stderr import fail, say

if TYPE_CHECKING:
    from bwtop.web.reports import Reports


def run_serve(options: Options, ship: ShippingOptions | None, *, may_measure: bool) -> None:
    """Serve until a signal.

    Listen first: a port in use is reported at once, and ports below 1024 need root.
    """
    from bwtop.web import files, serve
    from bwtop.web.access import Address
    from bwtop.web.server import WebServer
    from bwtop.web.tokens import TokenError, make_token, read_token

    if not may_measure and options.no_record and not options.origin:
        fail(NEEDS_ROOT)
    access.check(options)
    place = common.history(options)
    reports = _reports(options, place)
    trusted = access.trusted(options)
    address = Address(*(options.bind or (DEFAULT_HOST, DEFAULT_PORT)))
    clock = SignalClock()
    try:
        token = read_token(options.token_file, os.environ) if options.token_file else None
        served = files.load(options.chart_js, os.environ)
        server = WebServer(address)
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")
    made = None if token or options.open else make_token()
    access.tell(address, trusted, options.token_file, made)
    settings = serve.ServeOptions(
        reports,
        options.interval,
        token or made,
        options.allow_host,
        trusted,
        names=not options.no_resolve,
        labels=options.metrics_labels,
        otlp=options.otlp,
    )
    loading = common.load(options) if may_measure and not options.origin else None
    service = serve.Service(server, served, settings)
    if options.origin:
        clock.begin()
        confine(accounts.unprivileged(os.environ))
        reports.start()
        service.start()
        service.remember(clock)
        service.close()
    elif loading:
        measurement = common.start_measuring(options, loading, say, ship=ship)
        clock.begin()
        reports.start()
        for degradation in measurement.degradations:
            say(degradation)
        service.start()
        say(f"measuring (backend: {measurement.backend})")
        with finishing(measurement), closing(service):
            service.measure(measurement, clock)
    else:
        clock.begin()
        confine(place.account or accounts.unprivileged(os.environ), place.path)
        reports.start()
        service.start()
        names = not options.no_names
        service.follow(lambda: follow(place.path, names=names), clock)
        service.close()


def _reports(options: Options, place: Place) -> "Reports":
    """Return the history for the API; fork its server now, while nothing is open that it could inherit."""
    from bwtop.web.reports import Reports

    secret = common.password_of(options) if options.origin else ""
    return Reports(*access_of(options, place, secret))
