"""bwtop --record: record only, no display."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bwtop.clickhouse.shipper import ShippingOptions
from bwtop.measure.intervals import SignalClock
from bwtop.modes import access, common
from bwtop.options.flags import Options
from bwtop.text.stderr import CANNOT, fail

if TYPE_CHECKING:
    from bwtop.metrics.watch import Watch
    from bwtop.web.scrape import Scraped


def run_record(options: Options, ship: ShippingOptions | None) -> None:
    """Record until a signal, and serve metrics if --metrics is given."""
    scraped = _scraped(options, options.metrics) if options.metrics else None
    loading = common.load(options)
    from bwtop.modes import service

    clock = SignalClock()
    log = service.Log(sys.stderr, os.environ)
    measurement = common.start_measuring(options, loading, log, ship=ship)
    clock.begin()
    tell = service.notifier(os.environ)
    recorder = measurement.recorder
    assert recorder, "--record excludes --no-record"
    if recorder.state.other or recorder.state.is_lasting:
        sys.exit(CANNOT)  # the recorder has reported the reason
    for degradation in measurement.degradations:
        log(degradation)
    watch = scraped.watch if scraped else _watch(options)
    if watch:
        measurement = watch.over(measurement)
    if scraped:
        scraped.start()
        log(f"metrics on {scraped.url}", service.NOTICE)
        if options.open:
            log(access.OPEN, service.NOTICE)
    with _exporting(options, watch, log):
        service.run(measurement, recorder, clock, log, tell)


def _watch(options: Options) -> "Watch | None":
    """Return counters for an exporter; None: there is none."""
    if options.otlp is None:
        return None
    from bwtop.metrics.watch import Watch

    return Watch(options.metrics_labels)


@contextmanager
def _exporting(
    options: Options, watch: "Watch | None", notify: Callable[[str], None]
) -> Iterator[None]:
    """Send the metrics to a collector meanwhile, if --otlp is given."""
    if options.otlp is None or watch is None:
        yield
        return
    from bwtop.metrics.otlp import OtlpExporter
    from bwtop.metrics.otlp_target import headers

    exporter = OtlpExporter(options.otlp, watch, notify, "record", headers(os.environ))
    exporter.start()
    try:
        yield
    finally:
        exporter.close()


def _scraped(options: Options, endpoint: tuple[str, int]) -> "Scraped":
    """Listen for Prometheus, before anything else starts; exit with one line if that fails."""
    from bwtop.metrics.table import NEEDED
    from bwtop.web.access import Address
    from bwtop.web.tokens import TokenError, read_token

    try:
        from bwtop.web.scrape import Scraped
    except ImportError as error:
        fail(f"--metrics needs {NEEDED} ({error})")
    access.check(options)
    address = Address(*endpoint)
    if options.token_file is None and not address.ip.is_loopback:
        fail(f"--metrics on {address.ip} needs a token; add --token-file PATH")
    labels = options.metrics_labels
    try:
        token = read_token(options.token_file, os.environ) if options.token_file else None
        return Scraped(address, token, options.allow_host, access.trusted(options), labels)
    except TokenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or address.url()}")
