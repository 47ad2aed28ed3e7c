"""Datagrams that a socket keeps back: MSG_MORE and UDP_CORK, in the ways in which they end, and what follows them."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.running import Bwtop, Flow, run
from tests.kernel.test_tcp import file_of

pytestmark = pytest.mark.kernel

IPPROTO_UDP = 17
UDP_CORK = 1
MSG_PROBE = 0x10

PLACES = {
    "v4": (socket.AF_INET, "127.0.3.1", "127.0.3.1"),
    "v6": (socket.AF_INET6, "::1", "::1"),
    "v4-mapped": (socket.AF_INET6, "::ffff:127.0.3.1", "127.0.3.1"),
}
"""The socket's family, the address sent to, and how it is shown."""


@contextmanager
def sink() -> Iterator[socket.socket]:
    """Yield a UDP socket bound to all addresses of this host."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        yield sock


def uncork(sock: socket.socket) -> None:
    sock.setsockopt(IPPROTO_UDP, UDP_CORK, 0)


def splice(sock: socket.socket) -> None:
    """Seven bytes; to a connected socket only."""
    reading, writing = os.pipe()
    os.write(writing, bytes(7))
    assert os.splice(reading, sock.fileno(), 7) == 7
    os.close(reading)
    os.close(writing)


ENDS: dict[str, tuple[Callable[[socket.socket], object], int]] = {
    "option": (uncork, 0),
    "byte": (lambda sock: sock.send(b"x"), 1),
    "nothing": (lambda sock: sock.send(b""), 0),
    "splice": (splice, 7),
}
"""What ends them, and the bytes that it adds."""


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_follows_a_cork_counts_too(
    bwtop: Bwtop,
    place: tuple[socket.AddressFamily, str, str],
    end: tuple[Callable[[socket.socket], object], int],
) -> None:
    """The cork counts once and whole, nothing is counted where nothing waits, and the next message by itself."""
    family, address, shown = place
    ending, more = end

    def send(first: int, second: int) -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if ending is splice:
                sock.connect((address, first))
            for _ in range(3):
                sock.sendto(bytes(101), socket.MSG_MORE, (address, first))
                sock.send(bytes(103), socket.MSG_MORE)
                ending(sock)
                uncork(sock)
            if ending is splice:
                sock.connect((address, second))
                sock.send(bytes(1009))
            else:
                sock.sendto(bytes(1009), (address, second))
            uncork(sock)

    with sink() as one, sink() as other:
        first, second = one.getsockname()[1], other.getsockname()[1]
        pid = run(lambda: send(first, second))
    flows = bwtop.settled_flows(pid)
    whole = 3 * (204 + more)
    if bwtop.sees_datagrams:
        assert flows == {
            Flow("udp", shown, first, "client"): (0, whole),
            Flow("udp", shown, second, "client"): (0, 1009),
        }
    else:
        assert sum(sent for _, sent in flows.values()) == whole + 1009


def test_sendfile_of_less_than_it_was_asked_for(bwtop: Bwtop) -> None:
    """The kernel waits for more, and sends at the file's end what it has, from 6.5 on; before, never."""
    with sink() as sock, file_of(1009) as file:
        port = sock.getsockname()[1]

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connected:
                connected.connect(("127.0.3.1", port))
                assert os.sendfile(connected.fileno(), file, 0, 5000) == 1009
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
                another.sendto(bytes(103), ("127.0.3.1", port))

        pid = run(send)
        arrived = [len(sock.recv(2048))]
        if arrived == [1009]:
            arrived.append(len(sock.recv(2048)))
    flows = bwtop.settled_flows(pid)
    expected = sum(arrived) if bwtop.sees_datagrams else 1009 + 103
    assert flows == {Flow("udp", "127.0.3.1", port, "client"): (0, expected)}
    assert arrived in ([1009, 103], [103])


def test_whoever_ends_a_cork_has_sent_it(bwtop: Bwtop) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        first = run(lambda: sock.sendto(bytes(101), socket.MSG_MORE, ("127.0.3.1", 9)))
        last = run(lambda: sock.send(b"x"))
        after = run(lambda: sock.sendto(bytes(103), ("127.0.3.1", 9)))
    flow = Flow("udp", "127.0.3.1", 9, "client")
    bwtop.settle()
    assert bwtop.flows(after) == {flow: (0, 103)}
    if bwtop.sees_datagrams:
        assert bwtop.flows(first) == {}
        assert bwtop.flows(last) == {flow: (0, 102)}


def test_probe_of_a_path_sends_nothing(bwtop: Bwtop) -> None:
    """Where only the call is seen, its result looks like bytes."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            assert sock.sendto(bytes(13), MSG_PROBE, ("127.0.3.1", 9)) == 13
            sock.sendto(bytes(103), ("127.0.3.1", 9))

    pid = run(send)
    expected = 103 if bwtop.sees_datagrams else 13 + 103
    assert bwtop.settled_flows(pid) == {Flow("udp", "127.0.3.1", 9, "client"): (0, expected)}


def test_datagram_to_the_unspecified_address_goes_to_the_sockets_own(bwtop: Bwtop) -> None:
    """Where only the call is seen, to 127.0.0.1."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.3.2", 0))
            sock.sendto(bytes(103), ("0.0.0.0", 9))

    pid = run(send)
    address = "127.0.3.2" if bwtop.sees_datagrams else "127.0.0.1"
    assert bwtop.settled_flows(pid) == {Flow("udp", address, 9, "client"): (0, 103)}
