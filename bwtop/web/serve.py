"""bwtop --serve: run the browser view."""

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bwtop.capture.session import CaptureError
from bwtop.identity.names import Names
from bwtop.measure.intervals import Clock, samples
from bwtop.measure.sources import Measurement
from bwtop.metrics.otlp import OtlpExporter
from bwtop.metrics.otlp_target import OtlpTarget, headers
from bwtop.metrics.totals import MetricsLabel
from bwtop.metrics.watch import Watch
from bwtop.text.stderr import say
from bwtop.web import scraping
from bwtop.web.access import AccessPolicy
from bwtop.web.api import Api
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.files import File
from bwtop.web.reports import Reports
from bwtop.web.server import WebServer
from bwtop.web.source import LiveSource
from bwtop.web.trusted import Trusted

LOOK: Final = 2.0
"""Seconds between attempts to follow another bwtop."""


@dataclass(frozen=True)
class ServeOptions:
    """Options of --serve."""

    reports: Reports
    """Reports of the history."""
    interval: float
    """Seconds between updates."""
    token: str | None = None
    """None: no token; only trusted users have access."""
    hosts: Sequence[str] = ()
    """Further Host names of the server."""
    trusted: Trusted | None = None
    """Users without need of a token on loopback."""
    names: bool = True
    """True to look up the names of remotes."""
    labels: Sequence[MetricsLabel] = ()
    """Further labels of the metrics."""
    otlp: OtlpTarget | None = None
    """Collector of the metrics; None: there is none."""


class Service:
    """The browser view: server, API and broadcaster."""

    def __init__(
        self, server: WebServer, files: Mapping[str, File], settings: ServeOptions
    ) -> None:
        self._server = server
        self._interval = settings.interval
        self._reports = settings.reports
        names = Names() if settings.names else None
        self._policy = AccessPolicy(
            server.address, settings.token, settings.hosts, settings.trusted
        )
        self._broadcaster = Broadcaster(names)
        self._source = LiveSource(settings.reports.origin, names)
        self.watch = Watch(settings.labels)
        self._exporter = (
            OtlpExporter(settings.otlp, self.watch, say, "serve", headers(os.environ))
            if settings.otlp
            else None
        )
        self._api = Api(
            self._policy,
            files,
            broadcaster=self._broadcaster,
            source=self._source,
            history=settings.reports,
            names=names,
            interval=settings.interval,
            metrics=_exposition(self.watch),
        )

    def start(self) -> None:
        """Start to answer, and print the URL."""
        self._broadcaster.start()
        if self._exporter:
            self._exporter.start()
        self._server.start(self._api.respond)
        url = self._server.address.url()
        say(f"serving on {url}")
        if self._policy.takes_token:
            say(f"one-time link: {url}login?key={self._policy.new_key()}")

    def measure(self, measurement: Measurement, clock: Clock) -> None:
        """Broadcast a measurement until the clock stops."""
        measurement = self.watch.over(measurement)
        self._source.set(measurement)
        for sample in samples(measurement, lambda: self._interval, clock):
            if (
                sample.traffic or not self._source.why
            ):  # no sample without a recorder: unknown, not zero
                self._broadcaster.put(sample, measurement.backend)

    def follow(self, begin: Callable[[], Measurement], clock: Clock) -> None:
        """Broadcast the recording of another bwtop, whenever there is one, until the clock stops."""
        told = ""
        going = True
        while going:
            try:
                measurement = begin()
            except CaptureError as error:
                self._source.lose(str(error))
                if str(error) != told:
                    told = str(error)
                    say(f"no live traffic: {told}")
            else:
                told = ""
                self._follow(measurement, clock)
            going = clock.wait(time.monotonic() + LOOK)

    def _follow(self, measurement: Measurement, clock: Clock) -> None:
        """Broadcast until the clock stops or the history becomes unreadable."""
        say(f"watching {measurement.status().words}")
        try:
            self.measure(measurement, clock)
        except sqlite3.Error as error:
            say(f"the history cannot be read any more: {error}")
        finally:
            measurement.close(lambda: True)

    def remember(self, clock: Clock) -> None:
        """Serve the history alone, until the clock stops."""
        say(self._source.status()["history"])
        while clock.wait(time.monotonic() + LOOK):
            pass

    def close(self) -> None:
        """Close all streams, and end the queries of the history."""
        self._broadcaster.close()
        if self._exporter:
            self._exporter.close()
        self._reports.close()


def _exposition(watch: Watch) -> scraping.Exposed | None:
    """Return the exposition; None without prometheus_client.

    It is imported here, before bwtop drops root: afterwards it may be unreadable.
    """
    try:
        from bwtop.metrics.exposition import Exposition
    except ImportError:
        return None
    return Exposition(watch)
