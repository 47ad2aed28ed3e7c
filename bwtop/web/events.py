"""Server-sent events (HTML Living Standard, 9.2): the stream of intervals to a page."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from bwtop.web.answer import encode, refuse
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.views import ChartView, Document, LiveView

HEARTBEAT: Final = 5.0
"""Seconds without an event after which a comment is sent, so that each end notices a lost connection."""

PATIENCE: Final = 3.0
"""Seconds to wait for the last minutes to be drawn."""

_BEGINNING: Final = 0.5
"""Seconds to wait for them where there is no interval yet."""

RETRY: Final = 2000
"""Milliseconds until a client reconnects a broken stream; the page of bwtop uses its own delay."""


class EventStream:
    """The events of one page: first `past`, then each `interval`, and `status` whenever it changes.

    Before the first interval comes its `age` in seconds: without a recorder it can be hours old.
    """

    def __init__(
        self,
        broadcaster: Broadcaster,
        status: Callable[[], dict[str, Any]],
        view: LiveView,
        release: Callable[[], None],
        *,
        past: bool,
    ) -> None:
        self._broadcaster = broadcaster
        self._status = status
        self._view = view
        self._minutes = ChartView(view.scope())
        self._release = release
        self._past = past

    def close(self) -> None:
        """Free the place for another page."""
        self._release()

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: %d\n\n" % RETRY
        told = None
        number = 0
        patience = PATIENCE if self._broadcaster.is_begun else _BEGINNING
        if self._past and (drawn := self._broadcaster.wait(self._minutes, 0, patience)):
            yield _event("past", drawn.body, drawn.number)
        while not self._broadcaster.is_closed:
            status = self._status()
            if status != told:
                told = status
                yield _event("status", encode(status))
            drawn = self._broadcaster.wait(Document(self._view), number, HEARTBEAT)
            if drawn:
                if not number:
                    yield _event("age", encode(round(self._broadcaster.age(), 1)))
                number = drawn.number
                yield _event("interval", drawn.body, number)
            else:
                yield b": still here\n\n"


def _event(name: str, body: bytes, number: int | None = None) -> bytes:
    """Format one event with the number of its interval; JSON on one line needs no escaping."""
    about = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (about, name.encode(), body)


class Places:
    """A limited number of answers that clients take slowly."""

    def __init__(self, count: int, why: str) -> None:
        """Make so many places; `why` is the refusal where none is free."""
        self._free = threading.BoundedSemaphore(count)
        self._why = why

    def take(self) -> Callable[[], None]:
        """Take a place, and return the function that frees it; refuse if none is free."""
        if not self._free.acquire(blocking=False):
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, self._why, ("Retry-After", "10"))
        return self._free.release
