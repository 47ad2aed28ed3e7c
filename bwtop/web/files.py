"""The static files of the page, read once at startup.  Only these are served, so no path can escape."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bwtop.rights import opening
from bwtop.web.answer import HttpResponse

STATIC: Final = Path(__file__).parent / "static"

CHART_JS: Final = Path("/usr/share/javascript/chart.js/chart.min.js")
"""The file of Debian's libjs-chart.js."""

CHART: Final = "/chart.js"

MOST: Final = 4 << 20
"""Maximum size of Chart.js in bytes."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """A static file."""

    type: str
    body: bytes
    tag: str

    def answer(self, known: str | None) -> HttpResponse:
        """Return the file, or 304 if the browser has it already."""
        headers = (("Cache-Control", "no-cache"), ("ETag", self.tag))
        if known == self.tag:
            return HttpResponse(HTTPStatus.NOT_MODIFIED, self.type, headers=headers)
        return HttpResponse(HTTPStatus.OK, self.type, self.body, headers)


def _file(body: bytes, kind: str) -> File:
    tag = hashlib.sha256(body).hexdigest()[:24]
    return File(kind, body, f'"{tag}"')


def load(chart_js: Path | None, environment: Mapping[str, str]) -> dict[str, File]:
    """Return all files by their URL paths.  Without Chart.js there are no charts.

    A Chart.js named by the user is read with the rights of the user behind sudo.  Raises OSError.
    """
    found = {f"/{path.name}": _file(path.read_bytes(), _TYPES[path.suffix]) for path in _static()}
    found["/"] = found.pop("/index.html")
    if chart_js or CHART_JS.is_file():
        path = chart_js or CHART_JS
        account = opening.rights(path, environment, named=chart_js is not None)
        found[CHART] = _file(opening.read(path, MOST, account).data, _TYPES[".js"])
    return found


def _static() -> Iterator[Path]:
    return (path for path in STATIC.iterdir() if path.suffix in _TYPES)
