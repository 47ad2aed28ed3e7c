"""Names of remote addresses, looked up in the background."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterable
from typing import Final

from bwtop.model.flows import parse_address

_THREADS: Final = 4
_WAITING: Final = 1024
"""Addresses that may wait for a look-up; further ones are asked for again by a later interval."""
_KNOWN: Final = 16384
_AGE: Final = 3600.0
"""Seconds for which an answer, a negative one too, is kept."""


class Names:
    """Reverse DNS that never makes anybody wait: a name that is not known yet is None.

    Its threads are daemons, because getnameinfo(3) can block for as long as the resolver's time-outs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, str | None]] = {}
        self._asked: set[bytes] = set()
        self._queue: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._is_working = False

    def get(self, address: bytes) -> str | None:
        """The name of a packed address if it is known; else asks for it."""
        with self._lock:
            when, name = self._known.get(address, (-_AGE, None))
            if time.monotonic() - when >= _AGE:
                self._ask(address)
            return name

    def wait(self, addresses: Iterable[bytes], seconds: float) -> None:
        """Waits for so many names, but no longer than that."""
        deadline = time.monotonic() + seconds
        for address in addresses:
            self.get(address)
        while time.monotonic() < deadline:
            with self._lock:
                if not self._asked:
                    return
            time.sleep(0.005)

    def _ask(self, address: bytes) -> None:
        if address in self._asked or not _is_worth_asking(address):
            return
        with contextlib.suppress(queue.Full):  # then an interval to come asks again
            self._queue.put_nowait(address)
            self._asked.add(address)
            self._begin()

    def _begin(self) -> None:
        """Starts the threads when there is something to ask for: they cost memory."""
        if not self._is_working:
            self._is_working = True
            for _ in range(_THREADS):
                threading.Thread(target=self._work, name="bwtop-dns", daemon=True).start()

    def _work(self) -> None:
        while True:
            address = self._queue.get()
            name = look_up(address)
            with self._lock:
                self._known.pop(address, None)  # so that it goes to the end, the youngest
                if len(self._known) >= _KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[address] = (time.monotonic(), name)
                self._asked.discard(address)


def look_up(address: bytes) -> str | None:
    """Asks the system's resolver (hosts file, DNS, …) and waits for it."""
    parsed = parse_address(address)
    try:
        return socket.getnameinfo((str(parsed), 0), socket.NI_NAMEREQD)[0]
    except OSError:
        return None


def _is_worth_asking(address: bytes) -> bool:
    """No server knows the names of these, and asking would make traffic of our own."""
    parsed = parse_address(address)
    return parsed is not None and not (
        parsed.is_loopback or parsed.is_multicast or parsed.is_link_local or parsed.is_unspecified
    )
