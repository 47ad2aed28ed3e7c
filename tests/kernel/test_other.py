"""What is neither plain TCP nor UDP: io_uring's calls, other protocols, and sockets that are no network at all."""

import ctypes
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.kernel.running import Bwtop, Flow, run, start
from tests.kernel.talking import UP, exchange, payload, receive
from tests.kernel.uring import IORING_OP_RECV, IORING_OP_SEND, Ring

pytestmark = pytest.mark.kernel

SIZE = 1009


def test_io_uring(bwtop: Bwtop) -> None:
    def client(connection: socket.socket) -> None:
        ring, left = Ring(), UP
        while left:
            buffer = ctypes.create_string_buffer(payload(min(left, 40_009)), min(left, 40_009))
            left -= ring.submit(IORING_OP_SEND, connection.fileno(), buffer)

    def server(connection: socket.socket) -> None:
        ring, left = Ring(), UP
        while left:
            left -= ring.submit(
                IORING_OP_RECV, connection.fileno(), ctypes.create_string_buffer(30_011)
            )

    exchange(bwtop, client, server, UP, 0)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(size: int) -> bytes:
    body = bytes(size - 8)
    head = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    return struct.pack(">BBHHH", 8, 0, checksum(head + body), 1, 1) + body


def test_ping_over_a_raw_socket(bwtop: Bwtop) -> None:
    """A raw IPv4 socket receives IP's header too: that is what the call moved; the packet itself has less payload.

    On loopback it is handed the request as well as the answer.
    """

    def ping() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            sock.connect(("127.0.0.1", 0))
            sock.send(echo_request(1008))
            assert [len(sock.recv(4096)) for _ in range(2)] == [1028, 1028]

    pid = run(ping)
    received = 2 * (1008 if bwtop.sees_datagrams else 1028)
    assert bwtop.settled_flows(pid) == {Flow("icmp", "127.0.0.1", 0, "client"): (received, 1008)}


def test_raw_socket_has_its_protocol_but_is_never_tcp_or_udp(bwtop: Bwtop) -> None:
    def send() -> None:
        for protocol in (47, socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as sock:
                sock.sendto(bytes(SIZE), ("127.0.0.1", 0))

    pid = run(send)
    peer = "127.0.0.1" if bwtop.sees_datagrams else "*"
    assert bwtop.settled_flows(pid) == {
        Flow("gre", peer, 0, "client"): (0, SIZE),
        Flow("raw", peer, 0, "client"): (0, 2 * SIZE),
    }


def test_frames_count_when_sent_and_not_when_sniffed(bwtop: Bwtop) -> None:
    kind = 0x88B5  # a local experimental EtherType, which nobody else on this interface sends

    def sniff() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind)) as sock:
            sock.bind(("lo", kind))
            sock.send(bytes(12) + kind.to_bytes(2, "big") + bytes(SIZE - 14))
            assert len(sock.recv(4096)) == SIZE

    pid = run(sniff)
    assert bwtop.settled_flows(pid) == {Flow("packet", "*", 0, "client"): (0, SIZE)}


def test_local_sockets_are_no_network(bwtop: Bwtop) -> None:
    """AF_UNIX and netlink pass the same tracepoints."""

    def talk() -> None:
        ours, theirs = socket.socketpair()
        ours.sendall(bytes(SIZE))
        theirs.recv(SIZE)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.send(struct.pack("=IHHII4x", 20, 18, 0x301, 1, 0))  # RTM_GETLINK, a dump
            netlink.recv(65536)

    pid = run(talk)
    assert bwtop.settled_flows(pid) == {}


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a veth pair: 192.0.2.1 in the first, 192.0.2.2 in the second."""
    names = f"bwtop-a-{os.getpid()}", f"bwtop-b-{os.getpid()}"
    created = []
    try:
        for name in names:
            ip("netns", "add", name)
            created.append(name)
        ip(*f"-n {names[0]} link add left type veth peer name right netns {names[1]}".split())
        for number, (name, link) in enumerate(zip(names, ("left", "right"), strict=True), 1):
            ip(*f"-n {name} address add 192.0.2.{number}/24 dev {link}".split())
            ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in created:
            ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)


def enter(namespace: str) -> None:
    """Move this process into a network namespace: setns(2) with CLONE_NEWNET."""
    with open(f"/run/netns/{namespace}", "rb") as file:
        assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0


def test_other_network_namespaces_are_seen(bwtop: Bwtop, two_hosts: tuple[str, str]) -> None:
    """Between two hosts over a wire, with the addresses that they use there."""
    reading, writing = os.pipe()

    def serve() -> None:
        enter(two_hosts[1])
        with socket.create_server(("192.0.2.2", 5001)) as listener:
            os.write(writing, b"x")
            connection, _ = listener.accept()
            receive(connection, UP)
            connection.sendall(payload(SIZE))

    def ask() -> None:
        enter(two_hosts[0])
        with socket.create_connection(("192.0.2.2", 5001), timeout=20) as connection:
            connection.sendall(payload(UP))
            receive(connection, SIZE)

    serving = start(serve)
    os.read(reading, 1)
    client, server = run(ask), serving.wait()
    for descriptor in (reading, writing):
        os.close(descriptor)
    bwtop.settle()
    assert bwtop.flows(client) == {Flow("tcp", "192.0.2.2", 5001, "client"): (SIZE, UP)}
    assert bwtop.flows(server) == {Flow("tcp", "192.0.2.1", 5001, "server"): (UP, SIZE)}
    (remote,) = bwtop.processes(client)[-1]["remotes"]
    assert not remote["loopback"]
