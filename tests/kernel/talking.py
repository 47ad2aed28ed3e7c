"""Processes that talk over TCP, and what bwtop has to say of them."""

import os
import socket
from collections.abc import Callable

from tests.kernel.running import Bwtop, Flow, run, start

UP = 1_000_003
DOWN = 786_433
"""Bytes sent by the client and by the server: primes, so that no other sum looks like them."""


def payload(size: int) -> bytes:
    return bytes(size)


def receive(connection: socket.socket, size: int, chunk: int = 65536) -> None:
    """Read exactly so many bytes."""
    while size:
        got = len(connection.recv(min(chunk, size)))
        assert got, "the other end closed early"
        size -= got


class Service:
    """A listening socket, and a client and a server process that talk over one connection."""

    def __init__(
        self,
        family: int = socket.AF_INET,
        address: str = "127.0.0.1",
        to: str | None = None,
        client_family: int | None = None,
        protocol: int = 0,
        backlog: int = 5,
    ) -> None:
        self.listener = socket.socket(family, socket.SOCK_STREAM, protocol)
        if family == socket.AF_INET6 and address == "::":
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((address, 0))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        self._to = to or address
        self._family = client_family or family
        self._protocol = protocol

    def connect(self) -> socket.socket:
        client = socket.socket(self._family, socket.SOCK_STREAM, self._protocol)
        client.connect((self._to, self.port))
        return client

    def talk(
        self, client: Callable[[socket.socket], object], server: Callable[[socket.socket], object]
    ) -> tuple[int, int]:
        """Run both ends in processes of their own; return their pids."""

        def serve() -> None:
            connection, _ = self.listener.accept()
            server(connection)

        serving = start(serve)
        client_pid = run(lambda: client(self.connect()))
        server_pid = serving.wait()
        self.listener.close()
        return client_pid, server_pid


def splice_all(source: int, target: int, size: int) -> None:
    while size:
        moved = os.splice(source, target, min(size, 65536))
        assert moved
        size -= moved


def receive_by_splice(connection: socket.socket, size: int, chunk: int = 65536) -> None:
    """Read exactly so many bytes, without recv."""
    reading, writing = os.pipe()
    with open(os.devnull, "wb") as sink:
        while size:
            moved = os.splice(connection.fileno(), writing, min(size, chunk))
            assert moved
            splice_all(reading, sink.fileno(), moved)
            size -= moved


def send_then_receive(connection: socket.socket) -> None:
    connection.sendall(payload(UP))
    receive(connection, DOWN)


def receive_then_send(connection: socket.socket) -> None:
    receive(connection, UP)
    connection.sendall(payload(DOWN))


def exchange(
    bwtop: Bwtop,
    client: Callable[[socket.socket], object],
    server: Callable[[socket.socket], object],
    up: int,
    down: int,
) -> None:
    """Run both ends over one connection; each has one flow, with exactly these bytes."""
    service = Service()
    expect(bwtop, service, service.talk(client, server), up, down)


def expect(
    bwtop: Bwtop,
    service: Service,
    pids: tuple[int, int],
    up: int,
    down: int,
    address: str = "127.0.0.1",
) -> None:
    """Both ends have one flow each, with exactly these bytes."""
    bwtop.settle()
    client, server = pids
    as_client = {Flow("tcp", address, service.port, "client"): (down, up)}
    as_server = {Flow("tcp", address, service.port, "server"): (up, down)}
    assert bwtop.flows(client) == as_client
    assert bwtop.flows(server) == as_server
