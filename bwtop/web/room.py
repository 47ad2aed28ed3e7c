"""The waiting room: connections without a thread, by client, so that no client takes the places of others."""

import contextlib
import ipaddress
import socket
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bwtop.web.peer import IPAddress, unmapped

V6_PREFIX: Final = 64
"""Prefix length that identifies a client: it can use any address in its /64 (RFC 4291, 2.5.1)."""


def client_of(address: str, uid: int | None, *, is_local: bool) -> Hashable:
    """Return the client of a connection: a user on this machine, else an address.

    Users with unknown uids are one client: a process may use any address of 127.0.0.0/8.
    """
    if is_local:
        return "uid", uid
    found: IPAddress = unmapped(ipaddress.ip_address(address.partition("%")[0]))
    if found.version == 6:
        return ipaddress.ip_network((found, V6_PREFIX), strict=False)
    return found


@dataclass(eq=False)
class Connection:
    """An accepted connection, and the bytes received so far."""

    socket: socket.socket
    client: Hashable
    since: float
    """Time of accept, or of the complete request, on the monotonic clock."""
    uid: int | None = None
    """The uid of the process at the other end; None: unknown."""
    is_uid_missing: bool = False
    """True if netlink failed, so that /proc must be read."""
    head: bytearray = field(default_factory=bytearray)

    def close(self) -> None:
        """Shut down sending, then close."""
        with contextlib.suppress(OSError):  # the client has closed it
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()


@dataclass
class _Client:
    silent: dict[Connection, None] = field(default_factory=dict)
    """Connections without a complete request; oldest first, as in `ready`."""
    ready: dict[Connection, None] = field(default_factory=dict)
    running: int = 0
    """Connections served by threads."""

    def waiting(self) -> int:
        return len(self.silent) + len(self.ready)


class Room:
    """Connections that wait for their request or for a thread."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, _Client] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """Return the number of waiting connections."""
        return self._waiting

    def __iter__(self) -> Iterator[Connection]:
        for client in self._clients.values():
            yield from client.silent
            yield from client.ready

    def add(self, connection: Connection) -> None:
        """Add a connection without a complete request."""
        self._clients.setdefault(connection.client, _Client()).silent[connection] = None
        self._waiting += 1

    def remove(self, connection: Connection) -> None:
        """Remove a waiting connection."""
        client = self._clients[connection.client]
        for place in (client.silent, client.ready):
            if connection in place:
                del place[connection]
                self._waiting -= 1
        self._tidy(connection.client)

    def set_ready(self, connection: Connection, now: float) -> None:
        """Mark the request of a connection as complete."""
        client = self._clients[connection.client]
        del client.silent[connection]
        client.ready[connection] = None
        connection.since = now

    def oldest_of_the_most(self) -> Connection | None:
        """Return the oldest connection of the client with the most; those without a request come first."""
        if not self._waiting:
            return None
        client = max(self._clients.values(), key=_Client.waiting)
        return next(iter(client.silent or client.ready))

    def overdue(self, silent_since: float, ready_since: float) -> list[Connection]:
        """Return the connections that have waited since before these times, on the monotonic clock."""
        found: list[Connection] = []
        for client in self._clients.values():
            for place, limit in ((client.silent, silent_since), (client.ready, ready_since)):
                for connection in place:
                    if connection.since > limit:
                        break
                    found.append(connection)
        return found

    def take(self, most: int) -> Connection | None:
        """Take the next connection to serve: of the client with the fewest threads, and fewer than `most`."""
        able = [c for c in self._clients.values() if c.ready and c.running < most]
        if not able:
            return None
        client = min(able, key=lambda client: client.running)
        connection = next(iter(client.ready))
        client.running += 1
        self.remove(connection)
        return connection

    def release(self, client: Hashable) -> None:
        """Note that a connection of a client is finished."""
        self._clients[client].running -= 1
        self._tidy(client)

    def _tidy(self, key: Hashable) -> None:
        client = self._clients[key]
        if not client.running and not client.waiting():
            del self._clients[key]
