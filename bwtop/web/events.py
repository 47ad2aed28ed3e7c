"""Server-sent events (HTML Living Standard, 9.2): what a page gets as it happens."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from bwtop.web.answer import encode, refuse
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.server import MAX_STREAMS
from bwtop.web.views import Document, Live, Past

HEARTBEAT: Final = 5.0
"""Seconds without news after which something is sent all the same: so that both ends see that the other is there."""

RETRY: Final = 2000
"""Milliseconds after which who follows a stream that broke off tries again by itself; our page knows its own."""


class Events:
    """One page's events: `status` when that changes, `past` at the beginning, then `interval` after `interval`."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        status: Callable[[], dict[str, Any]],
        view: Live,
        release: Callable[[], None],
        *,
        past: bool,
    ) -> None:
        self._broadcaster = broadcaster
        self._status = status
        self._view = view
        self._minutes = Past(view.scope())
        self._release = release
        self._past = past

    def close(self) -> None:
        """Makes room for another page."""
        self._release()

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: %d\n\n" % RETRY
        told = None
        number = 0
        if self._past and (drawn := self._broadcaster.wait(self._minutes, 0, 0.5)):
            yield _event("past", drawn.body, drawn.number)
        while not self._broadcaster.is_closed:
            status = self._status()
            if status != told:
                told = status
                yield _event("status", encode(status))
            drawn = self._broadcaster.wait(Document(self._view), number, HEARTBEAT)
            if drawn:
                number = drawn.number
                yield _event("interval", drawn.body, number)
            else:
                yield b": still here\n\n"


def _event(name: str, body: bytes, number: int | None = None) -> bytes:
    """One event, with the number of the interval that it is about; JSON on one line needs no further escaping."""
    about = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (about, name.encode(), body)


class Places:
    """As many streams as there may be."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MAX_STREAMS)

    def take(self) -> Callable[[], None]:
        """A place, as what gives it back; refuses when there is none."""
        if not self._free.acquire(blocking=False):
            refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_STREAMS} pages are already open; close one",
                ("Retry-After", "10"),
            )
        return self._free.release
