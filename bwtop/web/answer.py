"""What is answered to a request."""

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
"""What is live, or somebody's own, is asked for anew each time."""


class Stream(Protocol):
    """A body that goes on; `close` is called when it is over, whether or not it was ever begun."""

    def __iter__(self) -> Iterator[bytes]:
        """Parts, as they are made."""

    def close(self) -> None:
        """Nobody reads any more."""


@dataclass(frozen=True)
class Answer:
    """Status, headers and a body, or a body that goes on."""

    status: HTTPStatus
    type: str = JSON
    body: bytes = b""
    headers: Headers = NOT_STORED
    stream: Stream | None = None

    def plus(self, *headers: tuple[str, str]) -> "Answer":
        """With further headers."""
        return replace(self, headers=self.headers + headers)


class RefusedError(Exception):
    """A request that gets one line of JSON instead of what it asked for."""

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[str, str]) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = headers

    def answer(self) -> Answer:
        """The line."""
        return document({"error": self.why}, self.status).plus(*self.headers)


def refuse(status: HTTPStatus, why: str, *headers: tuple[str, str]) -> NoReturn:
    """Raises RefusedError."""
    raise RefusedError(status, why, *headers)


def encode(found: Any) -> bytes:
    """One line of JSON; what is not ASCII, and so every control character, is escaped."""
    return json.dumps(found, separators=(",", ":")).encode()


def document(found: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """An answer of one line of JSON."""
    return Answer(status, JSON, encode(found) + b"\n")
