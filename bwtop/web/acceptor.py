"""Accept connections, and start a thread for each complete request.

One thread watches all silent and slow connections: each costs a descriptor and a buffer, but no thread.  When too many
wait, the client with the most connections loses its oldest.
"""

import contextlib
import errno
import ipaddress
import select
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final

from bwtop.text.stderr import say
from bwtop.web.peer import Peers, unmapped
from bwtop.web.room import Connection, Room, client_of

MAX_WAITING: Final = 256
"""Connections without a thread; beyond this, the client with the most loses its oldest."""

HEAD_SECONDS: Final = 10.0
"""Time limit for a request head."""

SCARCE_SECONDS: Final = 2.0
"""The same limit while more than half of MAX_WAITING wait."""

WAIT_SECONDS: Final = 10.0
"""Time limit for a complete request to get a thread."""

HEAD_BYTES: Final = 16384

TICK_SECONDS: Final = 0.25
"""Interval between checks for overdue connections."""

ACCEPTS: Final = 64
"""Connections accepted in a row before other events are handled."""

PAUSE_SECONDS: Final = 0.2
"""Pause in accepting while no descriptor is free."""

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """All connections of a listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[Connection], None],
        most: int,
        most_per_client: int,
    ) -> None:
        """Call `serve` in a thread per connection, with at most `most` threads."""
        self._listener = listener
        self._serve = serve
        self._most = most
        self._most_per_client = most_per_client
        self.peers = Peers()
        self._room = Room()
        self._running = 0
        self._over: deque[Hashable] = deque()
        """Clients whose connections are finished; appended by their threads."""
        self._stopping = False
        self._paused_until: float | None = None
        self._next_look = 0.0
        self._has_complained = False
        self._selector = selectors.DefaultSelector()
        self._wakes, self._waker = socket.socketpair()
        for end in (self._wakes, self._waker, listener):
            end.settimeout(0)
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Accept and serve until `stop`."""
        while not self._stopping:
            self._turn(self._selector.select(self._patience()))
        for connection in list(self._room):
            self._drop(connection)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping = True
        self._wake()

    def close(self) -> None:
        """Close its own descriptors; call it after `run`."""
        self._selector.close()
        self._wakes.close()
        self._waker.close()
        self.peers.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # woken already, or closed
            self._waker.send(b"\0")

    def _patience(self) -> float | None:
        """Return the seconds until the next check; None: no check is due."""
        return TICK_SECONDS if len(self._room) or self._paused_until is not None else None

    def _turn(self, events: list[tuple[selectors.SelectorKey, Any]]) -> None:
        is_called = False
        for key, _ in events:
            if key.fileobj is self._wakes:
                self._wakes.recv(4096)
            elif key.fileobj is self._listener:
                is_called = True
            else:
                self._read(key.data)
        if is_called:
            self._accept()
        while self._over:
            self._room.release(self._over.popleft())
            self._running -= 1
        self._look()
        self._start_threads()

    # Accepting.

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue
                if (
                    not self._is_pending()
                ):  # without a free descriptor accept(2) fails on an empty queue, too
                    return
                if not self._make_room():
                    self._pause(error)
                    return
            else:
                self._take(accepted)

    def _is_pending(self) -> bool:
        """Return whether a connection waits to be accepted."""
        queue = select.poll()
        queue.register(self._listener, select.POLLIN)
        return bool(queue.poll(0))

    def _make_room(self) -> bool:
        """Drop a waiting connection; return False if there is none."""
        oldest = self._room.oldest_of_the_most()
        if oldest:
            self._drop(oldest)
        return oldest is not None

    def _pause(self, error: OSError) -> None:
        """Stop accepting for PAUSE_SECONDS: the listening socket stays readable, and the loop would spin."""
        self._selector.unregister(self._listener)
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        if not self._has_complained:
            self._has_complained = True
            say(f"cannot accept connections ({error.strerror}); trying again")

    def _take(self, accepted: socket.socket) -> None:
        accepted.settimeout(0)
        try:
            connection = self._connection(accepted)
        except OSError:  # reset meanwhile
            accepted.close()
            return
        while len(self._room) >= MAX_WAITING:
            self._make_room()
        self._room.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)
        self._read(connection)  # most requests come with their connections

    def _connection(self, accepted: socket.socket) -> Connection:
        names = [accepted.getpeername()[0], accepted.getsockname()[0]]
        is_local = any(_is_loopback(name) for name in names)
        uid, is_missing = None, False
        if is_local:
            try:
                uid = self.peers.by_netlink(accepted)
            except OSError:
                is_missing = True
        client = client_of(names[0], uid, is_local=is_local)
        return Connection(accepted, client, time.monotonic(), uid, is_missing)

    # Waiting.

    def _read(self, connection: Connection) -> None:
        head = connection.head
        try:
            part = connection.socket.recv(HEAD_BYTES - len(head))
        except BlockingIOError:
            return
        except OSError:
            part = b""
            head.clear()
        head += part
        if not head:
            self._drop(connection)  # closed without a request
        elif not part or len(head) >= HEAD_BYTES or is_whole(head):
            self._selector.unregister(connection.socket)
            self._room.set_ready(connection, time.monotonic())

    def _drop(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError):  # its request is complete
            self._selector.unregister(connection.socket)
        self._room.remove(connection)
        connection.close()

    def _look(self) -> None:
        """Drop overdue connections, and accept again after a pause."""
        now = time.monotonic()
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        if now < self._next_look:
            return
        self._next_look = now + TICK_SECONDS
        is_scarce = len(self._room) > MAX_WAITING // 2
        patience = min(SCARCE_SECONDS, HEAD_SECONDS) if is_scarce else HEAD_SECONDS
        for connection in self._room.overdue(now - patience, now - WAIT_SECONDS):
            self._drop(connection)

    # Serving.

    def _start_threads(self) -> None:
        while self._running < self._most:
            connection = self._room.take(self._most_per_client)
            if connection is None:
                return
            self._running += 1
            try:
                threading.Thread(target=self._run_one, args=(connection,), daemon=True).start()
            except RuntimeError:  # no further thread can be started
                connection.close()
                self._end(connection)

    def _run_one(self, connection: Connection) -> None:
        try:
            self._serve(connection)
        finally:
            connection.close()
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._over.append(connection.client)
        self._wake()


def is_whole(head: bytes | bytearray) -> bool:
    """Return True if a request head ends with its empty line, which may be its first."""
    return b"\n\r\n" in head or b"\n\n" in head or head.startswith((b"\n", b"\r\n"))


def _is_loopback(name: str) -> bool:
    return unmapped(ipaddress.ip_address(name.partition("%")[0])).is_loopback
