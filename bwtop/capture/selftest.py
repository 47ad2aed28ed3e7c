"""The self-test of --check: move known bytes over loopback in every way, and compare the counts.

It finds hooks that the compiler inlined away, and bytes that two hooks count.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bwtop.capture.session import Capture
from bwtop.model.flows import (
    TCP,
    UDP,
    Identity,
    ProcessKey,
    Traffic,
    format_address,
    protocol_name,
)

UP: Final = 10_007
DOWN: Final = 7_919
"""Bytes in each direction: primes, so that no other sum equals them; they fit a socket's buffer."""

CUT: Final = 101
"""Bytes of a buffer that is too small."""

V4: Final = "127.0.0.1"
V6: Final = "::1"
MAPPED: Final = "::ffff:127.0.0.1"

Flow = tuple[int, str]
"""(protocol number, remote address)."""


@dataclass(frozen=True)
class Result:
    """The traffic of one move, expected and counted; of both ends, as this process is both."""

    name: str
    expected: dict[Flow, Traffic]
    counted: dict[Flow, Traffic]
    impossible: str = ""
    """The reason why the move cannot be made here; then nothing was compared."""

    @property
    def exact(self) -> bool:
        """True if every byte was counted once, and at its remote."""
        return self.counted == self.expected

    @property
    def right(self) -> bool:
        """True if every byte was counted once, and none at a wrong remote; '*' is not wrong."""
        at_all = _without_remotes(self.counted) == _without_remotes(self.expected)
        allowed = {address for _, address in self.expected} | {"*"}
        return at_all and {address for _, address in self.counted} <= allowed

    def __str__(self) -> str:
        if self.impossible:
            return f"{self.name}: not possible here ({self.impossible})"
        if self.exact:
            return f"{self.name}: exact"
        if self.right:
            return f"{self.name}: exact, but for a remote that is not known ('*')"
        return f"{self.name}: WRONG: counted {_words(self.counted)}, moved {_words(self.expected)}"


@dataclass(frozen=True)
class Me:
    """This process, told by start and name: in a PID namespace its own pid is not the one that the kernel counts under."""

    name: str
    start: int
    """In ticks since boot."""

    @classmethod
    def read(cls) -> Self:
        """Return this process, from proc_pid_stat(5)."""
        stat = Path("/proc/self/stat").read_bytes().decode("utf-8", "backslashreplace")
        before, _, after = stat.rpartition(")")
        return cls(before.partition("(")[2], int(after.split()[19]))

    def matches(self, process: ProcessKey, identity: Identity) -> bool:
        """Return True if a counted process is this one."""
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        return process.start // tick == self.start and identity.name == self.name


def prove(capture: Capture) -> Iterator[Result]:
    """Make every move and yield its result."""
    me = Me.read()
    for move in moves(sees_datagrams=capture.report.sees_datagrams):
        capture.read()
        with ExitStack() as sockets:
            try:
                received, sent = move.make(sockets)
            except OSError as error:
                yield Result(move.name, {}, {}, error.strerror or str(error))
                continue
        expected = {(move.protocol, move.remote): Traffic(received, sent)}
        yield Result(move.name, expected, _counted(capture, me))


def _counted(capture: Capture, me: Me) -> dict[Flow, Traffic]:
    """Return the traffic of this process since the previous reading, by protocol and remote."""
    counted: dict[Flow, Traffic] = {}
    sample = capture.read()
    for process, remotes in sample.traffic.items():
        if not me.matches(process, sample.identities[process]):
            continue
        for remote, traffic in remotes.items():
            flow = remote.protocol, format_address(remote.address)
            moved = Traffic(traffic.rx, traffic.tx)
            counted[flow] = counted.get(flow, Traffic()).plus(moved)
    return counted


def _without_remotes(flows: dict[Flow, Traffic]) -> dict[int, Traffic]:
    by_protocol: dict[int, Traffic] = {}
    for (protocol, _), traffic in flows.items():
        by_protocol[protocol] = by_protocol.get(protocol, Traffic()).plus(traffic)
    return by_protocol


def _words(flows: dict[Flow, Traffic]) -> str:
    described = (
        f"{protocol_name(protocol)} {address} rx {traffic.rx} tx {traffic.tx}"
        for (protocol, address), traffic in flows.items()
    )
    return "; ".join(described) or "nothing"


@dataclass(frozen=True)
class Move:
    """One way to move bytes; `make` returns (received, sent)."""

    name: str
    protocol: int
    remote: str
    make: Callable[[ExitStack], tuple[int, int]]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bound(sockets: ExitStack, address: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket at a free port; for a v4-mapped address one that takes both families."""
    sock = sockets.enter_context(socket.socket(_family(address), kind))
    sock.settimeout(5)
    if address == MAPPED:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::" if address == MAPPED else address, 0))
    return sock


def _stream(sockets: ExitStack, address: str = V4) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection: client, server."""
    listener = _bound(sockets, address, socket.SOCK_STREAM)
    listener.listen(1)
    client = sockets.enter_context(socket.socket(_family(address), socket.SOCK_STREAM))
    client.connect((address, listener.getsockname()[1]))
    server = sockets.enter_context(listener.accept()[0])
    return client, server


def _receive(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(size))


def _tcp(address: str) -> Callable[[ExitStack], tuple[int, int]]:
    def make(sockets: ExitStack) -> tuple[int, int]:
        client, server = _stream(sockets, address)
        client.sendall(bytes(UP))
        _receive(server, UP)
        server.sendall(bytes(DOWN))
        _receive(client, DOWN)
        return UP + DOWN, UP + DOWN

    return make


def _tcp_peek(sockets: ExitStack) -> tuple[int, int]:
    client, server = _stream(sockets)
    client.sendall(bytes(UP))
    server.recv(UP, socket.MSG_PEEK)
    _receive(server, UP)
    return UP, UP


def _tcp_sendfile(sockets: ExitStack) -> tuple[int, int]:
    client, server = _stream(sockets)
    with os.fdopen(os.memfd_create("sendfile"), "w+b") as file:
        file.write(bytes(UP))
        file.flush()
        sent = os.sendfile(client.fileno(), file.fileno(), 0, UP)
    _receive(server, sent)
    return sent, sent


def _tcp_splice(sockets: ExitStack) -> tuple[int, int]:
    client, server = _stream(sockets)
    reading, writing = os.pipe()
    sockets.callback(os.close, reading)
    sockets.callback(os.close, writing)
    os.write(writing, bytes(UP))
    sent = os.splice(reading, client.fileno(), UP)
    received = 0
    while received < sent:
        received += os.splice(server.fileno(), writing, sent - received)
    return received, sent


def _udp(address: str, *, connected: bool) -> Callable[[ExitStack], tuple[int, int]]:
    def make(sockets: ExitStack) -> tuple[int, int]:
        server = _bound(sockets, address, socket.SOCK_DGRAM)
        client = sockets.enter_context(socket.socket(_family(address), socket.SOCK_DGRAM))
        client.settimeout(5)
        to = (address, server.getsockname()[1])
        if connected:
            client.connect(to)
            client.send(bytes(UP))
        else:
            client.sendto(bytes(UP), to)
        _, peer = server.recvfrom(UP)
        server.sendto(bytes(DOWN), peer)
        client.recvfrom(DOWN)
        return UP + DOWN, UP + DOWN

    return make


def _udp_peek(sockets: ExitStack) -> tuple[int, int]:
    server = _bound(sockets, V4, socket.SOCK_DGRAM)
    client = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.sendto(bytes(UP), server.getsockname())
    server.recvfrom(UP, socket.MSG_PEEK)
    server.recvfrom(UP)
    return UP, UP


def _udp_corked(sockets: ExitStack) -> tuple[int, int]:
    server = _bound(sockets, V4, socket.SOCK_DGRAM)
    client = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.sendto(bytes(UP - CUT), socket.MSG_MORE, server.getsockname())
    client.send(bytes(CUT))
    server.recvfrom(UP)
    return UP, UP


def _udp_cut(counted: int) -> Callable[[ExitStack], tuple[int, int]]:
    def make(sockets: ExitStack) -> tuple[int, int]:
        server = _bound(sockets, V4, socket.SOCK_DGRAM)
        client = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.sendto(bytes(UP), server.getsockname())
        server.recvfrom(CUT)
        return counted, UP

    return make


def moves(*, sees_datagrams: bool) -> tuple[Move, ...]:
    """Return all moves.

    sees_datagrams: the backend counts received datagrams, not the results of calls.
    """
    if sees_datagrams:
        return (*_MOVES, Move(f"{_CUT} (counted whole)", UDP, V4, _udp_cut(UP)))
    return (*_MOVES, Move(f"{_CUT} (counted as what was read)", UDP, V4, _udp_cut(CUT)))


_CUT: Final = "UDP, cut short by a small buffer"

_MOVES: Final = (
    Move("TCP over IPv4", TCP, V4, _tcp(V4)),
    Move("TCP over IPv6", TCP, V6, _tcp(V6)),
    Move("TCP over v4-mapped IPv6", TCP, V4, _tcp(MAPPED)),
    Move("TCP, peeked at first", TCP, V4, _tcp_peek),
    Move("TCP by sendfile", TCP, V4, _tcp_sendfile),
    Move("TCP by splice", TCP, V4, _tcp_splice),
    Move("UDP over IPv4, connected", UDP, V4, _udp(V4, connected=True)),
    Move("UDP over IPv4, unconnected", UDP, V4, _udp(V4, connected=False)),
    Move("UDP over IPv6, connected", UDP, V6, _udp(V6, connected=True)),
    Move("UDP over IPv6, unconnected", UDP, V6, _udp(V6, connected=False)),
    Move("UDP over v4-mapped IPv6", UDP, V4, _udp(MAPPED, connected=False)),
    Move("UDP, peeked at first", UDP, V4, _udp_peek),
    Move("UDP, a datagram of two calls", UDP, V4, _udp_corked),
)
