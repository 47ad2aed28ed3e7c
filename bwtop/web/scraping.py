"""The answer to Prometheus: in the format and encoding that it asks for."""

import gzip
from http import HTTPStatus
from typing import Final, Protocol

from bwtop.web.access import HttpRequest
from bwtop.web.answer import METRICS, HttpResponse

OPEN_METRICS: Final = "application/openmetrics-text; version=0.0.1; charset=utf-8"

_LEVEL: Final = 3
"""Compression: text becomes a tenth, in a tenth of the time that level 9 takes."""


class Exposed(Protocol):
    """The metrics as text: see bwtop.metrics.exposition, which may be missing."""

    def text(self, *, is_open: bool = False) -> bytes:
        """Return the metrics in Prometheus' text format, or in OpenMetrics."""


def metrics(exposed: Exposed, request: HttpRequest) -> HttpResponse:
    """Return the metrics in OpenMetrics and compressed by gzip, each if the client accepts it."""
    is_open = _accepts(request, "Accept", "application/openmetrics-text")
    body = exposed.text(is_open=is_open)
    found = HttpResponse(HTTPStatus.OK, OPEN_METRICS if is_open else METRICS, body)
    found = found.plus(("Vary", "Accept, Accept-Encoding"))
    if not _accepts(request, "Accept-Encoding", "gzip"):
        return found
    packed = gzip.compress(body, _LEVEL, mtime=0)
    return HttpResponse(found.status, found.type, packed, found.headers).plus(
        ("Content-Encoding", "gzip")
    )


def _accepts(request: HttpRequest, header: str, name: str) -> bool:
    """Return whether a header lists a name, unless with a quality of 0 (RFC 9110)."""
    for part in (request.headers.get(header) or "").lower().split(","):
        word, *parameters = (piece.strip() for piece in part.split(";"))
        if word == name:
            return not any(one in ("q=0", "q=0.0", "q=0.00", "q=0.000") for one in parameters)
    return False
