"""The API: the table of routes and their answers."""

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, NoReturn

from bwtop import __version__
from bwtop.history.dimensions import DIMENSIONS, lacking, local_iso
from bwtop.measure.intervals import NameLookup
from bwtop.metrics.table import NEEDED
from bwtop.model.filter_fields import FIELDS, HOST, RECORDED
from bwtop.model.flows import pack_address
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.web import login, openapi, params, reports, scraping, views
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
from bwtop.web.params import Param, Values
from bwtop.web.reports import Download, Reports
from bwtop.web.route import Route
from bwtop.web.server import MAX_STREAMS
from bwtop.web.source import STUCK, LiveSource

ABOUT: Final = "bwtop.about/1"

PATIENCE: Final = 3.0
"""Seconds to wait for the first interval."""

MAX_DOWNLOADS: Final = 4
"""Downloads at once: the files that slow clients have not taken yet are in memory."""

LONGEST_NAME: Final = 120
"""Characters of a file name, without its suffix."""


class Api:
    """The answers of all routes."""

    def __init__(
        self,
        policy: AccessPolicy,
        files: Mapping[str, File],
        broadcaster: Broadcaster,
        source: LiveSource,
        history: Reports,
        names: NameLookup | None,
        interval: float,
        metrics: scraping.Exposed | None = None,
    ) -> None:
        """Take the interval in seconds; `metrics` is None without prometheus_client."""
        self._policy = policy
        self._files = files
        self._broadcaster = broadcaster
        self._source = source
        self._reports = history
        self._names = names
        self._interval = interval
        self._metrics = metrics
        self._places = Places(MAX_STREAMS, f"{MAX_STREAMS} pages are already open; close one")
        self._downloads = Places(MAX_DOWNLOADS, "too many downloads at once; try again")

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
            self._refuse_live(self._source.why or self._missing())
        return drawn.body

    def _missing(self) -> str:
        """Return why a view of the last interval is not there."""
        if self._broadcaster.is_closed:
            return "bwtop is shutting down"
        if self._broadcaster.is_begun:
            return f"drawing takes longer than {PATIENCE:g} seconds; use a filter or a limit"
        return "no interval has been measured yet"

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

    def history(self, request: HttpRequest, _: Values) -> HttpResponse:
        """Return the totals of a range."""
        with self._reports.ask(reports.TOTALS, request) as found:
            return HttpResponse(HTTPStatus.OK, JSON, self._with_names(found.read()))

    def export_json(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Return the totals of a range as a file to download."""
        return self.history(request, values).plus(_download(f"{_file_name(values)}.json"))

    def export_csv(self, request: HttpRequest, values: Values) -> HttpResponse:
        """Return the rows of a range as a CSV file to download."""
        release = self._downloads.take()
        try:
            found = self._reports.ask(reports.ROWS, request)
        except BaseException:
            release()
            raise
        length = "Content-Length", str(os.fstat(found.fileno()).st_size)
        answer = HttpResponse(HTTPStatus.OK, CSV, stream=Download(found, release))
        return answer.plus(length, _download(f"{_file_name(values)}.csv"))

    def _with_names(self, body: bytes) -> bytes:
        """Return totals with names of remotes that have none recorded; only this process looks them up."""
        if not self._names or b'"addr":' not in body:
            return body
        found = json.loads(body)
        for row in found["rows"]:
            row["host"] = row["host"] or self._host(row["addr"])
        return document(found).body

    def _host(self, address: str) -> str | None:
        packed = pack_address(address)
        return self._names.get(packed) if self._names and packed else None

    # About.

    def about(self, request: HttpRequest, _: Values) -> HttpResponse:
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
                "origin": self._reports.origin,
                "history": None if self._reports.origin else self._extent(request),
                "columns": [{"id": c.id, "help": c.help} for c in PROCESS_COLUMNS],
                "dimensions": [
                    {"id": d.name, "help": d.help} for d in DIMENSIONS if not lacking(d)
                ],
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

    def _extent(self, request: HttpRequest) -> Any:
        """Return the first and last time of the history; None if empty or busy: no page waits for it."""
        try:
            with self._reports.ask(reports.HOSTS_AND_TIME, request, patience=0) as found:
                return json.load(found)["history"]
        except HttpError:  # a query of the history reports the reason
            return None

    def hosts(self, request: HttpRequest, _: Values) -> HttpResponse:
        """Return the hosts and the extent of the history.

        This is not part of `about`, which must not wait for a slow server.
        """
        with self._reports.ask(reports.HOSTS_AND_TIME, request) as found:
            return HttpResponse(HTTPStatus.OK, JSON, found.read())

    def description(self, _: HttpRequest, __: Values) -> HttpResponse:
        """Return the OpenAPI description."""
        return HttpResponse(
            HTTPStatus.OK, JSON, encode(openapi.describe(ROUTES, __version__)) + b"\n"
        )

    def metrics(self, request: HttpRequest, _: Values) -> HttpResponse:
        """Return the metrics since the start, for Prometheus."""
        if self._metrics is None:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"/metrics needs {NEEDED}")
        return scraping.metrics(self._metrics, request)

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
            return self._follow_link(home, request, values["key"])
        if not self._policy.has_token(request):
            refuse(HTTPStatus.UNAUTHORIZED, "wrong token")
        return HttpResponse(HTTPStatus.NO_CONTENT).plus(self._policy.cookie())

    def _follow_link(self, home: HttpResponse, request: HttpRequest, key: str) -> HttpResponse:
        """Set the cookie; a link that does not work just leads to the page if the client has access anyway."""
        try:
            return home.plus(self._policy.log_in(key))
        except AccessError:
            if not self._policy.has_access(request):
                raise
            return home

    def link(self, request: HttpRequest, _: Values) -> HttpResponse:
        """Return a new one-time link; it needs the token itself."""
        if not self._policy.takes_token:
            refuse(HTTPStatus.NOT_FOUND, "no token is in use")
        if not self._policy.has_token(request):
            refuse(HTTPStatus.FORBIDDEN, "token required; send Authorization: Bearer TOKEN")
        key = self._policy.new_key(works=request.method != "HEAD")
        return document({"path": f"login?key={key}"})


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
        f"totals of a time range (bwtop.history/1); at most {reports.MOST_ROWS} rows: rows_left_out has the number of the others",
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
        f"the totals of a time range as a JSON file, with at most {reports.MOST_ROWS} rows",
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
