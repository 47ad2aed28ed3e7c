"""Reports of the history for the API: asked for in this process, made in processes of their own."""

import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import BinaryIO, Final

from bwtop.history import process
from bwtop.history.dimensions import local_iso
from bwtop.history.process import NARROWER, BusyError, QueryError, QueryLimits, QueryServer
from bwtop.history.query import History
from bwtop.model.conditions import Loopback
from bwtop.model.filter_fields import made, toggled
from bwtop.output import report as output
from bwtop.output.request import ReportRequest
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.schema import empty_reader
from bwtop.text.escape import inert
from bwtop.web import params
from bwtop.web.access import HttpRequest
from bwtop.web.answer import HttpError, document, refuse
from bwtop.web.history import HistoryAccess
from bwtop.web.server import PART_BYTES

HOSTS: Final = "bwtop.hosts/1"

MOST_ROWS: Final = 10_000
"""Rows of a JSON answer.  CSV has all."""


class Reports:
    """The history for the API; each question has a process of its own (see history.process)."""

    def __init__(
        self,
        history_access: HistoryAccess,
        prepare: Callable[[], object] = lambda: None,
        limits: QueryLimits = process.LIMITS,
    ) -> None:
        """Fork the server of these processes, which drops its rights in `prepare`; see QueryServer."""
        self.origin = history_access.origin
        """The URL of its server; None: the history of this machine."""
        self._history_access = history_access
        self._server = QueryServer(self._answer, prepare, limits, _warm_up)
        self.start, self.close = self._server.start, self._server.close

    def ask(self, kind: str, request: HttpRequest, patience: float | None = None) -> BinaryIO:
        """Return the report of a kind (TOTALS, ...) for the parameters of a request, or refuse."""
        try:
            head, body = self._server.ask(f"{kind}?{request.query}", request.is_gone, patience)
        except QueryError as error:
            again = [("Retry-After", "5")] if isinstance(error, BusyError) else []
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error), *again)
        if "why" in head:
            body.close()
            refuse(HTTPStatus(head["status"]), head["why"], *map(tuple, head["headers"]))
        return body

    def _answer(self, question: str) -> process.Answer:
        """Answer in the process of a question."""
        kind, _, query = question.partition("?")
        try:
            with self._history_access.history() as history:
                return {}, _KINDS[kind](history, query, self.origin)
        except HttpError as refused:
            return {"status": refused.status, "why": refused.why, "headers": refused.headers}, b""


class Download:
    """The body of an answer as a stream (see answer.Stream)."""

    def __init__(self, body: BinaryIO, release: Callable[[], None]) -> None:
        """Take the body, and the function that frees the place for another download."""
        self._body = body
        self._release = release

    def __iter__(self) -> Iterator[bytes]:
        return iter(partial(self._body.read, PART_BYTES), b"")

    def close(self) -> None:
        """Close the body."""
        self._body.close()
        self._release()


# In the process of a question.


def _warm_up() -> None:
    """Run all code once, on an empty history, before processes are forked that would each start it anew."""
    with closing(History(LocalReader(empty_reader()))) as history:
        _totals(history, "", None)


def _totals(history: History, query: str, origin: str | None) -> bytes:
    """Return the totals of a range, as JSON."""
    wanted = _wanted(query, origin)
    found = history.ask(wanted.range, wanted.by, wanted.keep, time.time())
    count, most = len(found.rows), min(wanted.limit or MOST_ROWS, MOST_ROWS)
    report = output.document(found, replace(wanted, limit=most), wanted.by)
    if min(count, wanted.limit or count) > MOST_ROWS:
        report["notes"].append(f"first {MOST_ROWS:,} of {count:,} rows; {NARROWER}")
    for row in report["rows"]:
        if "addr" in row:
            row["host"] = row["remote_name"] if row["name_source"] else None
    return document(report).body


def _rows(history: History, query: str, origin: str | None) -> bytes:
    """Return the rows of a range, as CSV."""
    wanted, out = _wanted(query, origin), io.StringIO()
    found = history.ask(wanted.range, wanted.by, wanted.keep, time.time())
    output.write_csv(found, wanted, wanted.by, out, inert)
    return out.getvalue().encode()


def _hosts(history: History, _: str, origin: str | None) -> bytes:
    """Return the hosts and the first and last time of the history, as JSON."""
    hosts, extent = history.hosts(), history.extent()
    return document(
        {
            "schema": HOSTS,
            "origin": origin,
            "history": extent and {"from": local_iso(extent[0]), "to": local_iso(extent[1])},
            "hosts": [{"hostname": host.name, "host_id": host.id} for host in hosts],
        }
    ).body


def _wanted(query: str, origin: str | None) -> ReportRequest:
    """Return the request for a report that the parameters of a route are."""
    values = params.read(query, params.HISTORY)
    named = {n: values[n] for n in ("process", "pid", "user", "remote", "host")}
    toggles = toggled(values["proto"], Loopback(values["loopback"]))
    sort: str = values["sort"]
    return ReportRequest(
        values["range"],
        by=values["by"],
        keep=toggles & made(named) & values["filter"],
        sort=sort.removeprefix("-"),
        reverse=sort.startswith("-"),
        limit=values["limit"],
        host=None if origin else socket.gethostname(),
    )


TOTALS: Final = "totals"
ROWS: Final = "rows"
HOSTS_AND_TIME: Final = "hosts"

_KINDS: Final = {TOTALS: _totals, ROWS: _rows, HOSTS_AND_TIME: _hosts}
