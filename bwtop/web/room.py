"""The waiting room: connections that no thread serves yet, by client, so that no client takes the others' places."""

import contextlib
import ipaddress
import socket
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bwtop.web.peer import IPAddress, unmapped

V6_PREFIX: Final = 64
"""Bits of an IPv6 address that one client has: it can take any address below them (RFC 4291, 2.5.1)."""


def client_of(address: str, uid: int | None, *, is_local: bool) -> Hashable:
    """Return whose connection it is: on this machine a user's, else an address's.

    Users whose uid is not known are one client: a process may take any address of 127.0.0.0/8.
    """
    if is_local:
        return "uid", uid
    found: IPAddress = unmapped(ipaddress.ip_address(address.partition("%")[0]))
    if found.version == 6:
        return ipaddress.ip_network((found, V6_PREFIX), strict=False)
    return found


@dataclass(eq=False)
class Connection:
    """An accepted connection, and what has come on it."""

    socket: socket.socket
    client: Hashable
    since: float
    """When it was accepted, or its request was whole, on the monotonic clock."""
    uid: int | None = None
    """Of the process at the other end; None: not known."""
    is_uid_missing: bool = False
    """Whether netlink could not say it, so that /proc has to be read."""
    head: bytearray = field(default_factory=bytearray)

    def close(self) -> None:
        """Closes it, the answer's end first."""
        with contextlib.suppress(OSError):  # the client has closed it
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()


@dataclass
class _Client:
    silent: dict[Connection, None] = field(default_factory=dict)
    """Without a whole request; the oldest first, as in `ready`."""
    ready: dict[Connection, None] = field(default_factory=dict)
    running: int = 0
    """Connections that threads serve."""

    def waiting(self) -> int:
        return len(self.silent) + len(self.ready)


class Room:
    """Connections that wait for their request, or for a thread."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, _Client] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._waiting

    def __iter__(self) -> Iterator[Connection]:
        for client in self._clients.values():
            yield from client.silent
            yield from client.ready

    def add(self, connection: Connection) -> None:
        """Take a connection without a whole request."""
        self._clients.setdefault(connection.client, _Client()).silent[connection] = None
        self._waiting += 1

    def remove(self, connection: Connection) -> None:
        """Forget a connection that waits."""
        client = self._clients[connection.client]
        for place in (client.silent, client.ready):
            if connection in place:
                del place[connection]
                self._waiting -= 1
        self._tidy(connection.client)

    def set_ready(self, connection: Connection, now: float) -> None:
        """Mark a connection whose request is whole."""
        client = self._clients[connection.client]
        del client.silent[connection]
        client.ready[connection] = None
        connection.since = now

    def oldest_of_the_most(self) -> Connection | None:
        """Return the oldest connection of the client that has the most; one without a request comes first."""
        if not self._waiting:
            return None
        client = max(self._clients.values(), key=_Client.waiting)
        return next(iter(client.silent or client.ready))

    def overdue(self, silent_since: float, ready_since: float) -> list[Connection]:
        """Return the connections that have waited since before these times."""
        found: list[Connection] = []
        for client in self._clients.values():
            for place, limit in ((client.silent, silent_since), (client.ready, ready_since)):
                for connection in place:
                    if connection.since > limit:
                        break
                    found.append(connection)
        return found

    def take(self, most: int) -> Connection | None:
        """Return a connection to be served now: the client's with the fewest that are, and fewer than `most`."""
        able = [c for c in self._clients.values() if c.ready and c.running < most]
        if not able:
            return None
        client = min(able, key=lambda client: client.running)
        connection = next(iter(client.ready))
        client.running += 1
        self.remove(connection)
        return connection

    def release(self, client: Hashable) -> None:
        """Note that a connection of a client's is served."""
        self._clients[client].running -= 1
        self._tidy(client)

    def _tidy(self, key: Hashable) -> None:
        client = self._clients[key]
        if not client.running and not client.waiting():
            del self._clients[key]
