"""Answers to requests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, NoReturn, Protocol

JSON: Final = "application/json"
CSV: Final = "text/csv; charset=utf-8"
EVENTS: Final = "text/event-stream"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"

Headers = tuple[tuple[str, str], ...]

NOT_STORED: Final[Headers] = (("Cache-Control", "no-store"),)
"""Live and private data must not be cached."""


class Stream(Protocol):
    """A streamed body; `close` is always called at the end, even if it was never iterated."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts of the body."""

    def close(self) -> None:
        """End the stream; it has no reader any more."""


@dataclass(frozen=True)
class HttpResponse:
    """Status, headers, and a body or a stream."""

    status: HTTPStatus
    type: str = JSON
    body: bytes = b""
    headers: Headers = NOT_STORED
    stream: Stream | None = None

    def plus(self, *headers: tuple[str, str]) -> "HttpResponse":
        """Return the answer with further headers."""
        return replace(self, headers=self.headers + headers)


class HttpError(Exception):
    """A refused request; its answer is one line of JSON."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[str, str]) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = headers

    def answer(self) -> HttpResponse:
        """Return the answer."""
        return document({"error": self.why}, self.status).plus(*self.headers)


def refuse(status: HTTPStatus, why: str, *headers: tuple[str, str]) -> NoReturn:
    """Raise HttpError."""
    raise HttpError(status, why, *headers)


def encode(found: Any) -> bytes:
    """Return one line of JSON in ASCII; control characters are escaped."""
    return json.dumps(found, separators=(",", ":")).encode()


def document(found: Any, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    """Return an answer of one line of JSON."""
    return HttpResponse(status, JSON, encode(found) + b"\n")
