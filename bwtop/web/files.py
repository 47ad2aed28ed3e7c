"""The files of the page: few and small, read once.  Nothing else can be asked for, so no path leads elsewhere."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bwtop.web.answer import Answer

STATIC: Final = Path(__file__).parent / "static"

CHART_JS: Final = Path("/usr/share/javascript/chart.js/chart.min.js")
"""Where Debian's libjs-chart.js has it."""

CHART: Final = "/chart.js"

MOST: Final = 4 << 20
"""Bytes of a Chart.js."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """One of them."""

    type: str
    body: bytes
    tag: str

    def answer(self, known: str | None) -> Answer:
        """The file, or that it is still the one that the browser has."""
        headers = (("Cache-Control", "no-cache"), ("ETag", self.tag))
        if known == self.tag:
            return Answer(HTTPStatus.NOT_MODIFIED, self.type, headers=headers)
        return Answer(HTTPStatus.OK, self.type, self.body, headers)


def _read(path: Path, kind: str) -> File:
    with path.open("rb") as file:
        body = file.read(MOST + 1)
    if len(body) > MOST:
        raise OSError(f"{path} is too large for a script")
    tag = hashlib.sha256(body).hexdigest()[:24]
    return File(kind, body, f'"{tag}"')


def load(chart_js: Path | None) -> dict[str, File]:
    """All files by their paths in URLs; raises OSError.  Without a Chart.js there are no charts."""
    found = {f"/{path.name}": _read(path, _TYPES[path.suffix]) for path in _static()}
    found["/"] = found.pop("/index.html")
    if chart_js or CHART_JS.is_file():
        found[CHART] = _read(chart_js or CHART_JS, _TYPES[".js"])
    return found


def _static() -> Iterator[Path]:
    return (path for path in STATIC.iterdir() if path.suffix in _TYPES)
