"""Every way in which a TCP byte can move, in known amounts."""

import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.kernel.conftest import lost
from tests.kernel.older import Older, Take
from tests.kernel.running import HANG, Bwtop, Child, Flow, has_protocol, run, start
from tests.kernel.talking import (
    DOWN,
    UP,
    Service,
    exchange,
    expect,
    payload,
    receive,
    receive_by_splice,
    receive_then_send,
    send_then_receive,
    splice_all,
)

pytestmark = pytest.mark.kernel

IPPROTO_MPTCP = 262
TCP_ZEROCOPY_RECEIVE = 35
SO_ZEROCOPY = 60
MSG_ZEROCOPY = 0x4000000


@pytest.mark.parametrize(
    ("service", "address"),
    [
        (lambda: Service(), "127.0.0.1"),
        (lambda: Service(address="127.0.0.9"), "127.0.0.9"),
        (lambda: Service(socket.AF_INET6, "::1"), "::1"),
        (lambda: Service(socket.AF_INET6, "::", "127.0.0.1", socket.AF_INET), "127.0.0.1"),
        (lambda: Service(socket.AF_INET6, "::", "::ffff:127.0.0.1"), "127.0.0.1"),
        pytest.param(
            lambda: Service(protocol=IPPROTO_MPTCP),
            "127.0.0.1",
            marks=pytest.mark.skipif(
                not has_protocol(IPPROTO_MPTCP), reason="this kernel has no MPTCP"
            ),
        ),
        (lambda: Service(backlog=0), "127.0.0.1"),
    ],
    ids=["v4", "v4-other", "v6", "v4-to-v6-socket", "v4-mapped", "mptcp", "no-backlog"],
)
def test_both_directions(bwtop: Bwtop, service: Callable[[], Service], address: str) -> None:
    listening = service()
    pids = listening.talk(send_then_receive, receive_then_send)
    client, server = pids
    bwtop.settle()
    assert bwtop.flows(client) == {Flow("tcp", address, listening.port, "client"): (DOWN, UP)}
    local = {"127.0.0.9": "127.0.0.1"}.get(address, address)  # what the kernel chose for the client
    found = bwtop.flows(server)
    assert list(found.values()) == [(UP, DOWN)]
    (flow,) = found
    assert (flow.proto, flow.port, flow.role) == ("tcp", listening.port, "server")
    assert flow.addr in (address, local)


def halves(size: int) -> list[bytearray]:
    return [bytearray(size // 2), bytearray(size - size // 2)]


SENDS: dict[str, Callable[[socket.socket, bytes], int]] = {
    "send": lambda c, data: c.send(data),
    "sendto": lambda c, data: c.sendto(data, ("192.0.2.1", 9)),  # which TCP ignores
    "sendmsg": lambda c, data: c.sendmsg(halves(len(data))),
    "write": lambda c, data: os.write(c.fileno(), data),
    "writev": lambda c, data: os.writev(c.fileno(), halves(len(data))),
}

RECEIVES: dict[str, Callable[[socket.socket, int], int]] = {
    "recv": lambda c, size: len(c.recv(size)),
    "recvfrom_into": lambda c, size: c.recvfrom_into(bytearray(size))[0],
    "recvmsg": lambda c, size: c.recvmsg_into(halves(size))[0],
    "read": lambda c, size: len(os.read(c.fileno(), size)),
    "readv": lambda c, size: os.readv(c.fileno(), halves(size)),
    "waitall": lambda c, size: len(c.recv(size, socket.MSG_WAITALL)),
    # TCP's MSG_TRUNC throws the bytes away: they have arrived all the same (tcp(7)).
    "truncation": lambda c, size: c.recv_into(bytearray(size), size, socket.MSG_TRUNC),
}


@pytest.mark.parametrize("way", SENDS)
def test_ways_to_send(bwtop: Bwtop, way: str) -> None:
    def client(connection: socket.socket) -> None:
        left = UP
        while left:
            left -= SENDS[way](connection, payload(min(left, 40_009)))

    exchange(bwtop, client, lambda c: receive(c, UP), UP, 0)


@pytest.mark.parametrize("way", RECEIVES)
def test_ways_to_receive(bwtop: Bwtop, way: str) -> None:
    def server(connection: socket.socket) -> None:
        left = UP
        while left:
            left -= RECEIVES[way](connection, min(left, 30_011))

    exchange(bwtop, lambda c: c.sendall(payload(UP)), server, UP, 0)


def test_short_writes_count_what_moved(bwtop: Bwtop) -> None:
    """A non-blocking socket takes less than it is offered, or nothing (EAGAIN)."""
    refusals = os.pipe()

    def client(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        connection.setblocking(False)
        left, refused = UP, 0
        while left:
            offered = min(left, 100_003)
            try:
                sent = connection.send(payload(offered))
            except BlockingIOError:
                sent = 0
                select.select([], [connection], [])
            refused += sent < offered
            left -= sent
        os.write(refusals[1], b"x" * min(refused, 100))

    exchange(bwtop, client, lambda c: receive(c, UP, 997), UP, 0)
    os.close(refusals[1])
    with open(refusals[0], "rb") as counted:
        assert counted.read(), "the socket took all that it was offered; nothing was tested"


def test_errors_move_nothing(bwtop: Bwtop) -> None:
    def client(connection: socket.socket) -> None:
        connection.sendall(payload(1009))
        receive(connection, 1)
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            connection.send(payload(5003))

    def server(connection: socket.socket) -> None:
        receive(connection, 1009)
        connection.sendall(b"x")

    exchange(bwtop, client, server, 1009, 1)


def test_peeking_is_not_traffic(bwtop: Bwtop) -> None:
    def server(connection: socket.socket) -> None:
        left = UP
        while left:
            for _ in range(3):
                connection.recv(20_011, socket.MSG_PEEK)
            left -= len(connection.recv(20_011))

    exchange(bwtop, lambda c: c.sendall(payload(UP)), server, UP, 0)


def test_urgent_byte_counts_once(bwtop: Bwtop) -> None:
    def client(connection: socket.socket) -> None:
        connection.sendall(payload(1009))
        connection.send(b"!", socket.MSG_OOB)
        connection.sendall(payload(2003))

    def server(connection: socket.socket) -> None:
        select.select([], [], [connection], HANG)
        receive(connection, 1009)
        assert connection.recv(1, socket.MSG_OOB) == b"!"
        receive(connection, 2003)

    exchange(bwtop, client, server, 1009 + 1 + 2003, 0)


def talk_urgently(
    bwtop: Bwtop,
    sent: list[int],
    taken: Callable[[socket.socket], int],
    pace: tuple[int, int] | None = None,
) -> int:
    """Send pieces in one direction, 0 being an urgent byte; return what the reader was given, as all count it.

    pace: a pipe with a byte for each piece that may be sent.
    """
    service = Service()
    pids = os.pipe()

    def serve() -> None:
        connection, _ = service.listener.accept()
        total = taken(connection)
        os.write(pids[1], total.to_bytes(8, "little"))

    def ask() -> None:
        connection = service.connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in sent:
            if pace:
                os.read(pace[0], 1)
            if size:
                connection.sendall(payload(size))
            else:
                connection.send(b"!", socket.MSG_OOB)

    serving = start(serve)
    client, server = run(ask), serving.wait()
    service.listener.close()
    total = int.from_bytes(os.read(pids[0], 8), "little")
    for descriptor in pids:
        os.close(descriptor)
    up = sum(size or 1 for size in sent)
    flows = bwtop.settled_flows(client)
    assert flows == {Flow("tcp", "127.0.0.1", service.port, "client"): (0, up)}
    flows = bwtop.flows(server)
    assert flows == {Flow("tcp", "127.0.0.1", service.port, "server"): (total, 0)}
    return total


def read_beside(connection: socket.socket, count: int) -> int:
    """Read urgent bytes as they come."""
    poll = select.poll()
    poll.register(connection, select.POLLPRI)
    for _ in range(count):
        assert poll.poll(1000 * HANG)
        assert connection.recv(1, socket.MSG_OOB) == b"!"
    return count


def read_on(connection: socket.socket, chunk: int = 65536) -> int:
    """Read the stream to its end."""
    total = 0
    while data := connection.recv(chunk):
        total += len(data)
    return total


def test_urgent_bytes_alone(bwtop: Bwtop) -> None:
    pace = os.pipe()

    def one_by_one(connection: socket.socket) -> int:
        for _ in range(100):
            os.write(pace[1], b"x")
            read_beside(connection, 1)
        return 100

    assert talk_urgently(bwtop, 100 * [0], one_by_one, pace) == 100
    for descriptor in pace:
        os.close(descriptor)


def test_urgent_byte_after_splice(bwtop: Bwtop) -> None:
    """What was spliced before is none of what the calls return that come after it."""
    pace = os.pipe()

    def take(connection: socket.socket) -> int:
        os.write(pace[1], b"x")
        receive_by_splice(connection, 5003)
        os.write(pace[1], b"xx")
        return 5003 + read_beside(connection, 1) + read_on(connection, 7)

    assert talk_urgently(bwtop, [5003, 0, 20], take, pace) == 5024
    for descriptor in pace:
        os.close(descriptor)


@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_urgent_byte_at_the_end_of_the_stream(bwtop: Bwtop, chunk: int) -> None:
    taken = talk_urgently(bwtop, [1000, 0], lambda c: read_beside(c, 1) + read_on(c, chunk))
    assert taken == 1001


@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_urgent_bytes_that_nobody_reads(bwtop: Bwtop, chunk: int) -> None:
    assert talk_urgently(bwtop, [1000, 0, 500], lambda c: read_on(c, chunk)) == 1500


def test_urgent_bytes_that_replace_each_other(bwtop: Bwtop) -> None:
    """The kernel drops one that is next to be read when another one comes."""

    def late(connection: socket.socket) -> int:
        time.sleep(0.5)
        return read_on(connection, 300)

    talk_urgently(bwtop, [0, 0, 0, 1000, 0, 0, 10, 0], late)
    talk_urgently(bwtop, [*20 * [0], 5003], lambda c: read_beside(c, 1) + late(c))


def test_urgent_byte_within_the_stream(bwtop: Bwtop) -> None:
    """SO_OOBINLINE."""

    def inline(connection: socket.socket) -> int:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        return read_on(connection)

    assert talk_urgently(bwtop, [1000, 0, 500, 0], inline) == 1502


@contextmanager
def file_of(size: int) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(payload(size))
        file.flush()
        file.seek(0)
        yield file.fileno()


def test_sendfile(bwtop: Bwtop) -> None:
    def client(connection: socket.socket) -> None:
        with file_of(UP) as file:
            sent = 0
            while sent < UP:
                sent += os.sendfile(connection.fileno(), file, sent, UP - sent)

    exchange(bwtop, client, lambda c: receive(c, UP), UP, 0)


def test_splice_both_ways(bwtop: Bwtop) -> None:
    """A socket's bytes go through pipes at both ends: no send and no recv is called."""

    def client(connection: socket.socket) -> None:
        reading, writing = os.pipe()
        with file_of(UP) as file:
            left = UP
            while left:
                moved = os.splice(file, writing, min(left, 65536))
                splice_all(reading, connection.fileno(), moved)
                left -= moved

    def server(connection: socket.socket) -> None:
        receive_by_splice(connection, UP)
        _, writing = os.pipe()
        assert os.splice(connection.fileno(), writing, 65536) == 0, "read up to the FIN"

    exchange(bwtop, client, server, UP, 0)


def test_splice_and_recv_on_one_connection(bwtop: Bwtop) -> None:
    def server(connection: socket.socket) -> None:
        reading, writing = os.pipe()
        left = UP
        with open(os.devnull, "wb") as sink:
            while left:
                moved = os.splice(connection.fileno(), writing, min(left, 10_007))
                splice_all(reading, sink.fileno(), moved)
                left -= moved
                if left:
                    left -= len(connection.recv(min(left, 10_009)))

    exchange(bwtop, lambda c: c.sendall(payload(UP)), server, UP, 0)


def test_zero_copy_send(bwtop: Bwtop) -> None:
    """The completion notices are read from the error queue: those bytes were counted when they were sent."""

    def client(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        left = UP
        while left:
            left -= connection.send(payload(min(left, 100_003)), MSG_ZEROCOPY)
        receive(connection, 1)
        connection.recvmsg(100, 1000, socket.MSG_ERRQUEUE)

    def server(connection: socket.socket) -> None:
        receive(connection, UP)
        connection.sendall(b"x")

    exchange(bwtop, client, server, UP, 1)


class ZeroCopyReceive(ctypes.Structure):
    """struct tcp_zerocopy_receive of uapi/linux/tcp.h."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("recv_skip_hint", ctypes.c_uint32),
        ("inq", ctypes.c_uint32),
        ("err", ctypes.c_int32),
        ("copybuf_address", ctypes.c_uint64),
        ("copybuf_len", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    ]


def test_zero_copy_receive(bwtop: Bwtop) -> None:
    """TCP_ZEROCOPY_RECEIVE maps pages or copies what fills none; recvmsg is not called."""
    size = 16 * 4096 + 1009

    def server(connection: socket.socket) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        window = libc.mmap(None, 1 << 20, mmap.PROT_READ, mmap.MAP_SHARED, connection.fileno(), 0)
        copy = ctypes.create_string_buffer(1 << 20)
        left = size
        while left:
            select.select([connection], [], [])
            ask = ZeroCopyReceive(
                address=window,
                length=1 << 20,
                copybuf_address=ctypes.addressof(copy),
                copybuf_len=1 << 20,
            )
            length = ctypes.c_uint32(ctypes.sizeof(ask))
            result = libc.getsockopt(
                connection.fileno(),
                socket.IPPROTO_TCP,
                TCP_ZEROCOPY_RECEIVE,
                ctypes.byref(ask),
                ctypes.byref(length),
            )
            assert result == 0, errno.errorcode[ctypes.get_errno()]
            left -= ask.length + max(ask.copybuf_len, 0)

    exchange(bwtop, lambda c: c.sendall(payload(size)), server, size, 0)


def test_fast_open(bwtop: Bwtop) -> None:
    """The first bytes travel in the SYN."""
    service = Service()
    service.listener.setsockopt(socket.IPPROTO_TCP, 23, 5)  # TCP_FASTOPEN

    def client() -> None:
        for _ in range(2):  # the first connection only fetches the cookie
            connection = socket.socket()
            connection.sendto(payload(1009), 0x20000000, ("127.0.0.1", service.port))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

    def server() -> None:
        for _ in range(2):
            connection, _peer = service.listener.accept()
            with closing(connection):
                receive(connection, 1009)
                assert connection.recv(1) == b""

    serving = start(server)
    pids = run(client), serving.wait()
    service.listener.close()
    expect(bwtop, service, pids, 2 * 1009, 0)


@pytest.mark.parametrize("take", [receive, receive_by_splice])
def test_a_connection_older_than_bwtop(bwtop: Bwtop, before: Older, take: Take) -> None:
    """Opened, and half used, before bwtop started: only what follows counts, to the byte, on the right side."""
    conversation = before.conversations[take].pop()
    expect(bwtop, conversation.service, conversation.go_on(), UP, DOWN)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("is_accepted", [False, True])
@pytest.mark.parametrize("backlog", [0, 5])
def test_what_is_read_after_a_reset_keeps_its_port(
    bwtop: Bwtop, backlog: int, is_accepted: bool
) -> None:
    """A reset takes the server's port away from the connection, and leaves what had arrived to be read.

    Only the opening tells which side an accepted socket without a backlog is.
    """
    service = Service(backlog=backlog)
    accepted, ended = os.pipe(), os.pipe()

    def client() -> None:
        connection = service.connect()
        if is_accepted:
            os.read(accepted[0], 1)
        connection.sendall(payload(5003))
        reset(connection)
        os.write(ended[1], b"x")

    def server() -> None:
        if not is_accepted:
            os.read(ended[0], 1)
        accept = ctypes.CDLL(
            None
        ).accept  # Python's asks for the peer, which a reset one has no more
        with socket.socket(fileno=accept(service.listener.fileno(), None, None)) as connection:
            os.write(accepted[1], b"x")
            if is_accepted:
                os.read(ended[0], 1)
            receive(connection, 5003)

    serving = start(server)
    pids = run(client), serving.wait()
    service.listener.close()
    for descriptor in (*accepted, *ended):
        os.close(descriptor)
    expect(bwtop, service, pids, 5003, 0)


def test_one_socket_for_two_connections(bwtop: Bwtop) -> None:
    """connect() with AF_UNSPEC ends a connection and keeps the socket: the second is counted from its own start."""
    service = Service()

    def client() -> None:
        with socket.socket() as sock:
            for size in (5003, UP):
                sock.connect(("127.0.0.1", service.port))
                receive(sock, size)
                sock.sendall(b"x")
                unspecified = bytes(16)
                assert ctypes.CDLL(None).connect(sock.fileno(), unspecified, len(unspecified)) == 0

    def server() -> None:
        for size in (5003, UP):
            connection, _ = service.listener.accept()
            connection.sendall(payload(size))
            receive(connection, 1)

    serving = start(server)
    pids = run(client), serving.wait()
    service.listener.close()
    expect(bwtop, service, pids, 2, 5003 + UP)


def test_a_connection_that_came_in_flight(bwtop: Bwtop, before: Older) -> None:
    """Older than bwtop, and in no process's hands when it started: its first call, of many segments, joins it."""
    connection = before.in_flight.pop()
    flows = bwtop.settled_flows(connection.arrive())
    connection.end()
    assert flows == {Flow("tcp", "127.0.0.1", connection.port, "server"): (UP, 0)}


@contextmanager
def held_by_nobody(in_flight: bool, alone: bool) -> Iterator[tuple[Child, int, int]]:
    """Yield a process whose connection waits to be accepted, or is in flight, with its port and what lets it go on.

    alone: in a network namespace of its own.
    """
    ready, gate = os.pipe(), os.pipe()

    def hold() -> None:
        if alone:
            assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        service = Service()
        service.listener.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        client = service.connect()
        ours, theirs = socket.socketpair()
        if in_flight:
            accepted, _ = service.listener.accept()
            socket.send_fds(ours, [b"x"], [accepted.fileno()])
            accepted.close()
        os.write(ready[1], service.port.to_bytes(4, "little"))
        os.read(gate[0], 1)
        client.sendall(payload(300_007))
        if in_flight:
            _, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
            connection = socket.socket(fileno=descriptor)
        else:
            connection, _ = service.listener.accept()
        receive_by_splice(connection, 300_007)

    child = start(hold)
    try:
        yield child, int.from_bytes(os.read(ready[0], 4), "little"), gate[1]
    finally:
        for descriptor in (*ready, *gate):
            os.close(descriptor)


@pytest.mark.parametrize("alone", [False, True], ids=["here", "in-a-namespace"])
@pytest.mark.parametrize("in_flight", [False, True], ids=["backlog", "in-flight"])
def test_connections_that_no_process_held_at_the_start(in_flight: bool, alone: bool) -> None:
    """The first call is splice(), whose result nobody sees."""
    with held_by_nobody(in_flight, alone) as (child, port, gate), Bwtop() as bwtop:
        os.write(gate, b"x")
        flows = bwtop.settled_flows(child.wait())
        assert not lost(bwtop)
    assert flows == {
        Flow("tcp", "127.0.0.1", port, "client"): (0, 300_007),
        Flow("tcp", "127.0.0.1", port, "server"): (300_007, 0),
    }


def test_threads_reading_one_connection(bwtop: Bwtop) -> None:
    """Four readers of one socket, each byte once, whatever the order.  The FIN takes a sequence number; it is no data."""

    def server(connection: socket.socket) -> None:
        def read() -> None:
            while connection.recv(7001):
                pass

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    exchange(bwtop, lambda c: c.sendall(payload(UP)), server, UP, 0)


def test_reset_connection(bwtop: Bwtop) -> None:
    """What was handed to TCP counts as sent though a reset follows; what was not read does not count as received."""

    def client(connection: socket.socket) -> None:
        connection.sendall(payload(5003))
        receive(connection, 1)
        reset(connection)

    def server(connection: socket.socket) -> None:
        receive(connection, 1009)
        connection.sendall(b"x")

    service = Service()
    client_pid, server_pid = service.talk(client, server)
    bwtop.settle()
    assert bwtop.flows(client_pid) == {Flow("tcp", "127.0.0.1", service.port, "client"): (1, 5003)}
    assert bwtop.flows(server_pid) == {Flow("tcp", "127.0.0.1", service.port, "server"): (1009, 1)}
