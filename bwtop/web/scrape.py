"""bwtop --record --metrics: the metrics endpoint without the page."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from bwtop.measure.intervals import READING_PERIOD
from bwtop.metrics.exposition import Exposition
from bwtop.metrics.totals import MetricsLabel
from bwtop.metrics.watch import Watch
from bwtop.web import scraping
from bwtop.web.access import AccessPolicy, Address, HttpRequest
from bwtop.web.answer import HttpResponse, document, refuse
from bwtop.web.server import WebServer
from bwtop.web.source import STUCK
from bwtop.web.trusted import Trusted


class Scraped:
    """A server of /metrics and /healthz; it listens at once, and answers after `start`."""

    def __init__(
        self,
        address: Address,
        token: str | None,
        hosts: Iterable[str] = (),
        trusted: Trusted | None = None,
        labels: Sequence[MetricsLabel] = (),
    ) -> None:
        """Listen on the address (see AccessPolicy); raise OSError if that fails."""
        self.watch = Watch(labels)
        self._exposition = Exposition(self.watch)
        self._server = WebServer(address)
        self._policy = AccessPolicy(self._server.address, token, hosts, trusted)

    @property
    def url(self) -> str:
        """Return the URL of the metrics."""
        return f"{self._server.address.url()}metrics"

    def start(self) -> None:
        """Start to answer."""
        self._server.start(self.respond)

    def close(self) -> None:
        """Stop answering, and close the listening socket."""
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Answer a request, or raise HttpError.  Parameters are ignored."""
        self._policy.check_host(request)
        self._policy.check_origin(request)
        if request.path == "/healthz":
            return self._healthz()
        self._policy.check_access(request)
        if request.path != "/metrics":
            refuse(HTTPStatus.NOT_FOUND, "not found; this server has /metrics and /healthz")
        return scraping.metrics(self._exposition, request)

    def _healthz(self) -> HttpResponse:
        """Answer 200, or 503 while readings are overdue; needs no token."""
        age = self.watch.age()
        if age > 2 * READING_PERIOD + STUCK:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"no reading for {age:.0f} seconds")
        return document({"status": "ok"})
