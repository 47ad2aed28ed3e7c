"""bwtop --batch: print intervals."""

import sys
from dataclasses import replace
from typing import Final

from bwtop.capture.session import Loading
from bwtop.clickhouse.shipper import ShippingOptions
from bwtop.identity.names import Names, PeerNames
from bwtop.measure.background import Background
from bwtop.measure.intervals import SignalClock, Status, limited, samples, warner, with_trouble
from bwtop.measure.stopping import finishing
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.modes import common
from bwtop.modes.screen import has_terminal
from bwtop.options.flags import Options
from bwtop.text.stderr import say
from bwtop.view.interval import Intervals

_DEFAULT_ITERATIONS: Final = 5


def run_batch(options: Options, loading: Loading | None, ship: ShippingOptions | None) -> None:
    """Print intervals until the last one or a signal."""
    from bwtop.output import intervals
    from bwtop.output.lines import LineOutput

    clock = SignalClock()
    iterations = options.iterations
    if not options.batch and iterations is None and not has_terminal():
        iterations = _DEFAULT_ITERATIONS
        say(f"no terminal; printing {iterations} intervals (-n N changes that)")
    measurement = common.start_measuring(options, loading, say, ship=ship)
    clock.begin()
    for degradation in measurement.degradations:
        say(degradation)
    if measurement.following:
        say(f"watching {measurement.status().words}")
    else:
        say(f"measuring (backend: {measurement.backend})")
    names = None if options.no_resolve else Names()
    layout = intervals.Layout(
        backend=measurement.backend,
        bits=options.bits,
        origin=options.origin.url() if options.origin else "",
    )
    status = measurement.status if measurement.following else lambda: Status("")
    warn = warner(with_trouble(status, names), say)

    def on_reading(sample: Sample) -> None:
        warn(sample)
        if measurement.on_reading:
            measurement.on_reading(sample)

    source = replace(measurement, on_reading=on_reading)
    maker = Intervals(
        common.filter_of(options),
        RemoteNames(PeerNames(names, measurement.peers).get),
        options.sort,
        options.limit,
    )
    taken = limited(samples(source, lambda: options.interval, clock), iterations)
    out = LineOutput(sys.stdout.fileno(), sys.stdout.encoding)
    with finishing(measurement), Background(taken, clock.stop) as measured:
        intervals.run(map(maker.advance, measured), options.format or "table", layout, out)
