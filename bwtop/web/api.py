"""The API: the table of routes and their answers."""

import io
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, NoReturn, Protocol

from bwtop import __version__
from bwtop.history.dimensions import DIMENSIONS, local_iso
from bwtop.history.query import Answer as Sums
from bwtop.history.query import History
from bwtop.measure.intervals import NameSource
from bwtop.metrics.table import NEEDED
from bwtop.model.filter import FIELDS, HOST, RECORDED, Loopback, made, toggled
from bwtop.model.flows import pack_address
from bwtop.output import report as output
from bwtop.output.request import ReportRequest as Report
from bwtop.text.escape import inert
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.web import login, openapi, params, views
from bwtop.web.access import AccessError, AccessPolicy, HttpRequest
from bwtop.web.answer import (
    CSV,
    EVENTS,
    JSON,
    METRICS,
    HttpError,
    HttpResponse,
    document,
    encode,
    refuse,
)
from bwtop.web.broadcaster import Broadcaster, BroadcastView
from bwtop.web.events import EventStream, Places
from bwtop.web.files import CHART, File
from bwtop.web.history import HistoryAccess
from bwtop.web.params import Param, Values
from bwtop.web.route import Route
from bwtop.web.source import STUCK, LiveSource

ABOUT: Final = "bwtop.about/1"
HOSTS: Final = "bwtop.hosts/1"

PATIENCE: Final = 3.0
"""Seconds to wait for the first interval."""

MOST_ROWS: Final = 10_000
"""Rows of a JSON answer: each costs the server about 1 KB while it writes them.  CSV has all."""

LONGEST_NAME: Final = 120
"""Characters of a file name, without its suffix."""


class Exposed(Protocol):
    """The metrics as text: see bwtop.metrics.exposition, which may be missing."""

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""


class Api:
    """The answers of all routes."""

    def __init__(
        self,
        policy: AccessPolicy,
        files: Mapping[str, File],
        broadcaster: Broadcaster,
        source: LiveSource,
        history_access: HistoryAccess,
        names: NameSource | None,
        interval: float,
        metrics: Exposed | None = None,
    ) -> None:
        """Take the interval in seconds; `metrics` is None without prometheus_client."""
        self._policy = policy
        self._files = files
        self._broadcaster = broadcaster
        self._source = source
        self._history_access = history_access
        self._names = names
        self._interval = interval
        self._metrics = metrics
        self._places = Places()

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Answer a request, or raise HttpError."""
        try:
            return self._respond(request)
        except AccessError as refused:
            if self._policy.takes_token and login.is_navigation(request):
                return login.page(request, refused)
            raise

    def _respond(self, request: HttpRequest) -> HttpResponse:
        self._policy.check_host(request)
        file = self._files.get(request.path)
        if file is None or request.path != "/":
            self._policy.check_origin(request)
        if file is not None:
            if request.path not in login.FILES:
                self._policy.check_access(request)
            return file.answer(request.headers.get("If-None-Match"))
        route = _BY_PATH.get(request.path)
        if route is None or not route.is_open:
            self._policy.check_access(request)
        if route is None:
            refuse(HTTPStatus.NOT_FOUND, "not found; see /api/v1/openapi.json")
        return route.answer(self, request, params.read(request.query, route.params))

    # Live.

    def live(self, _: HttpRequest, values: Values) -> HttpResponse:
        """Return the last interval."""
        return HttpResponse(
            HTTPStatus.OK, JSON, self._draw(views.Document(views.live(values))) + b"\n"
        )

    def live_csv(self, _: HttpRequest, values: Values) -> HttpResponse:
        """Return the last interval as CSV, with a line for each process and remote."""
        body = self._draw(views.Sheet(views.live(values)))
        return HttpResponse(HTTPStatus.OK, CSV, body).plus(_download("bwtop-live.csv"))

    def _draw(self, view: BroadcastView) -> bytes:
        """Draw a view of the last interval; refuse if there is none."""
        drawn = None if self._source.why else self._broadcaster.wait(view, 0, PATIENCE)
        if drawn is None:
            ending = "bwtop is shutting down" if self._broadcaster.is_closed else ""
            why = self._source.why or ending or "no interval has been measured yet"
            self._refuse_live(why)
        return drawn.body

    def _refuse_live(self, why: str) -> NoReturn:
        """Refuse with Retry-After, except where no interval will ever come."""
        again = () if self._source.is_past else (("Retry-After", "1"),)
        refuse(HTTPStatus.SERVICE_UNAVAILABLE, why, *again)

    def stream(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Stream each interval as it ends."""
        if self._source.is_past:
            self._refuse_live(self._source.why)
        answer = HttpResponse(HTTPStatus.OK, EVENTS).plus(("X-Accel-Buffering", "no"))  # for nginx
        if request.method == "HEAD":
            return answer
        past = values["past"] == "show"
        view = views.live(values)
        release = self._places.take()
        events = EventStream(self._broadcaster, self._source.status, view, release, past=past)
        return replace(answer, stream=events)

    # History.

    def history(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Return the totals of a range."""
        return document(self._sums(request, values))

    def export_json(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Return the totals of a range as a file to download."""
        return document(self._sums(request, values)).plus(_download(f"{_file_name(values)}.json"))

    def export_csv(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Return the rows of a range as a CSV file to download."""
        report = self._report(values)
        answer, _now = self._ask(request, report)
        out = io.StringIO()
        output.write_csv(answer, report, report.by, out, inert)
        body = out.getvalue().encode()
        return HttpResponse(HTTPStatus.OK, CSV, body).plus(_download(f"{_file_name(values)}.csv"))

    def _sums(self, request: HttpRequest, values: Values) -> dict[str, Any]:
        report = self._report(values)
        answer, now = self._ask(request, report)
        limited = replace(report, limit=min(report.limit or MOST_ROWS, MOST_ROWS))
        found = output.document(answer, limited, report.by, now)
        count = len(answer.rows)
        if min(count, report.limit or count) > MOST_ROWS:
            found["notes"].append(
                f"first {MOST_ROWS:,} of {count:,} rows; choose a shorter range or fewer groups"
            )
        for row in found["rows"]:
            if "addr" in row:
                row["host"] = self._host(row["addr"])
        return found

    def _report(self, values: Values) -> Report:
        named = {
            "name": values["process"],
            **{n: values[n] for n in ("pid", "user", "remote", "host")},
        }
        toggles = toggled(values["proto"], Loopback(values["loopback"]))
        sort: str = values["sort"]
        return Report(
            values["range"],
            by=values["by"],
            keep=toggles & made(named) & values["filter"],
            sort=sort.removeprefix("-"),
            reverse=sort.startswith("-"),
            limit=values["limit"],
            host=None if self._history_access.origin else socket.gethostname(),
        )

    def _ask(self, request: HttpRequest, report: Report) -> tuple[Sums, float]:
        now = time.time()
        with self._history_access.history(is_gone=request.is_gone) as history:
            found = history.ask(report.range, report.by, report.keep, now)
        return found, now

    def _host(self, address: str) -> str | None:
        packed = pack_address(address)
        return self._names.get(packed) if self._names and packed else None

    # About.

    def about(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Return version, status, and the columns, dimensions and filter fields of this API."""
        now = time.time()
        return document(
            {
                "schema": ABOUT,
                "version": __version__,
                "host": socket.gethostname(),
                "time": local_iso(now),
                "interval": self._interval,
                "status": self._source.status(),
                "chart": CHART if CHART in self._files else None,
                "origin": self._history_access.origin,
                "history": None if self._history_access.origin else self._extent(),
                "columns": [{"id": c.id, "help": c.help} for c in PROCESS_COLUMNS],
                "dimensions": [{"id": d.name, "help": d.help} for d in DIMENSIONS],
                "fields": [
                    {
                        "id": f.name,
                        "help": f.help,
                        "live": f in FIELDS,
                        "recorded": f in RECORDED,
                    }
                    for f in (*FIELDS, HOST)
                ],
            }
        )

    def _extent(self) -> dict[str, str] | None:
        """Return the first and last time of the history; None if empty or busy: no page waits for it."""
        try:
            with self._history_access.history(patience=0) as history:
                return _extent(history)
        except HttpError:  # a query of the history reports the reason
            return None

    def hosts(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Return the hosts and the extent of the history.

        This is not part of `about`, which must not wait for a slow server.
        """
        with self._history_access.history() as history:
            hosts, extent = history.hosts(), _extent(history)
        return document(
            {
                "schema": HOSTS,
                "origin": self._history_access.origin,
                "history": extent,
                "hosts": [{"hostname": host.name, "host_id": host.id} for host in hosts],
            }
        )

    def description(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Return the OpenAPI description."""
        return HttpResponse(
            HTTPStatus.OK, JSON, encode(openapi.describe(ROUTES, __version__)) + b"\n"
        )

    def metrics(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Return the metrics since the start, for Prometheus."""
        if self._metrics is None:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"/metrics needs {NEEDED}")
        return HttpResponse(HTTPStatus.OK, METRICS, self._metrics.text())

    def healthz(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Answer 200, or 503 while intervals are overdue."""
        age = self._broadcaster.age()
        if self._source.is_ours and age > 2 * self._interval + STUCK:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"no interval for {age:.0f} seconds")
        return document({"status": "ok"})

    # Login.

    def login(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Set the cookie: for a one-time link, which redirects to the page, or for the token itself."""
        home = HttpResponse(HTTPStatus.SEE_OTHER).plus(("Location", "./"))
        if not self._policy.takes_token or request.method == "HEAD":
            return home  # HEAD does not use up a one-time link
        if "Authorization" not in request.headers:
            return home.plus(self._policy.log_in(values["key"]))
        if not self._policy.has_token(request):
            refuse(HTTPStatus.UNAUTHORIZED, "wrong token")
        return HttpResponse(HTTPStatus.NO_CONTENT).plus(self._policy.cookie())

    def link(self, request: HttpRequest, _: Values) -> HttpResponse:
        """Return a new one-time link; it needs the token itself."""
        if not self._policy.takes_token:
            refuse(HTTPStatus.NOT_FOUND, "no token is in use")
        if not self._policy.has_token(request):
            refuse(HTTPStatus.FORBIDDEN, "token required; send Authorization: Bearer TOKEN")
        key = self._policy.new_key(works=request.method != "HEAD")
        return document({"path": f"login?key={key}"})


def _extent(history: History) -> dict[str, str] | None:
    """Return the first and last time of the history; None if it is empty."""
    extent = history.extent()
    return extent and {"from": local_iso(extent[0]), "to": local_iso(extent[1])}


def _file_name(values: Values) -> str:
    by = "-".join(dimension.name for dimension in values["by"])
    when = re.sub(r"[^a-z0-9-]+", "-", values["range"].text)
    return f"bwtop-{when}-by-{by}"[:LONGEST_NAME]


def _download(name: str) -> tuple[str, str]:
    return "Content-Disposition", f'attachment; filename="{name}"'


_KEY: Final = Param("key", "key of a one-time link", str, example="...")

ROUTES: Final = (
    Route("/api/v1/live", "the last interval (bwtop.batch/1)", Api.live, params.LIVE),
    Route("/api/v1/live.csv", "the last interval as CSV", Api.live_csv, params.LIVE, CSV),
    Route(
        "/api/v1/stream",
        "each interval as it ends, as server-sent events",
        Api.stream,
        params.STREAM,
        EVENTS,
    ),
    Route(
        "/api/v1/history",
        f"totals of a time range (bwtop.history/1); at most {MOST_ROWS} rows: rows_left_out has the number of the others",
        Api.history,
        params.HISTORY,
    ),
    Route(
        "/api/v1/export.csv",
        "the rows of a time range as a CSV file",
        Api.export_csv,
        params.HISTORY,
        CSV,
    ),
    Route(
        "/api/v1/export.json",
        f"the totals of a time range as a JSON file, with at most {MOST_ROWS} rows",
        Api.export_json,
        params.HISTORY,
    ),
    Route(
        "/api/v1/hosts",
        "hosts in the history, and the time that it covers (bwtop.hosts/1)",
        Api.hosts,
    ),
    Route("/api/v1/about", "version, status, columns and filter fields (bwtop.about/1)", Api.about),
    Route("/api/v1/openapi.json", "the description of this API (OpenAPI)", Api.description),
    Route("/api/v1/link", "a new one-time link to the page", Api.link),
    Route("/metrics", "metrics for Prometheus", Api.metrics, type=METRICS),
    Route("/healthz", "health check; 503 while intervals are overdue", Api.healthz, is_open=True),
    Route(
        "/login", "log in with a one-time link or with the token", Api.login, (_KEY,), is_open=True
    ),
)

_BY_PATH: Final = {route.path: route for route in ROUTES}
