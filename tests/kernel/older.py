"""Connections that are older than the bwtop of all tests, kept for those that ask what it makes of them."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from tests.kernel.running import HANG, Child, run, start, waiting_bytes
from tests.kernel.talking import DOWN, UP, Service, payload, receive, receive_by_splice

Take = Callable[[socket.socket, int, int], None]

HALF = 5003
"""Bytes that the client has sent before bwtop starts."""

KEPT = 3600
"""Seconds after which those end whom nobody has told to go on."""


class Conversation:
    """Two processes that have used a connection half, and go on when they are told."""

    def __init__(self, take: Take) -> None:
        self.service = Service()
        self._take = take
        self._begun, self._gate = os.pipe(), os.pipe()
        self._server, self._client = start(self._serve), start(self._ask)
        self.service.listener.close()
        os.read(self._begun[0], 1)

    def _ask(self) -> None:
        connection = self.service.connect()
        connection.sendall(payload(HALF))
        receive(connection, 1)
        os.write(self._begun[1], b"x")
        self._wait()
        connection.sendall(payload(UP))
        receive(connection, DOWN)

    def _serve(self) -> None:
        connection, _ = self.service.listener.accept()
        receive(connection, HALF)
        connection.sendall(b"x")
        self._wait()
        self._take(connection, UP, 4099)
        connection.sendall(payload(DOWN))

    def _wait(self) -> None:
        signal.alarm(KEPT)
        os.read(self._gate[0], 1)
        signal.alarm(int(HANG))

    def go_on(self) -> tuple[int, int]:
        """Let both send and receive the rest; return the pids of client and server once they have."""
        os.write(self._gate[1], b"xx")
        return self._client.wait(), self._server.wait()

    def end(self) -> None:
        """Without the rest."""
        for child in (self._client, self._server):
            end(child)


def end(child: Child) -> None:
    """Kill a process that waits."""
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)


class InFlight:
    """A connection whose server end is in no process's hands: a message of another socket carries it."""

    def __init__(self) -> None:
        service = Service()
        self.port = service.port
        # SO_RCVBUFFORCE: room for all that is sent before it is read.
        service.listener.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        self._client = service.connect()
        accepted, _ = service.listener.accept()
        service.listener.close()
        self._ours, self._theirs = socket.socketpair()
        socket.send_fds(self._ours, [b"x"], [accepted.fileno()])
        accepted.close()

    def arrive(self) -> int:
        """Let a process take it and read all that has been sent in one call; return its pid."""
        self._client.sendall(payload(UP))
        return run(self._serve)

    def _serve(self) -> None:
        _, (descriptor,), _, _ = socket.recv_fds(self._theirs, 1, 1)
        late = socket.socket(fileno=descriptor)
        while waiting_bytes(descriptor) < UP:
            time.sleep(0.01)
        assert len(late.recv(2 * UP)) == UP

    def end(self) -> None:
        """Close what it consists of."""
        for sock in (self._client, self._ours, self._theirs):
            sock.close()


@dataclass(frozen=True)
class Older:
    """As many of each as there may be attempts at a test."""

    conversations: dict[Take, list[Conversation]]
    in_flight: list[InFlight]


@contextmanager
def older(attempts: int) -> Iterator[Older]:
    """Begin them; what is left of them in the end is ended."""
    takes = (receive, receive_by_splice)
    kept = Older(
        {take: [Conversation(take) for _ in range(attempts)] for take in takes},
        [InFlight() for _ in range(attempts)],
    )
    try:
        yield kept
    finally:
        for conversation in chain.from_iterable(kept.conversations.values()):
            conversation.end()
        for connection in kept.in_flight:
            connection.end()
