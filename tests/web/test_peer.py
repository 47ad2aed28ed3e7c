"""Test the user of a connection with real sockets, by netlink and by /proc."""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.web import peer
from bwtop.web.peer import Peers
from tests.history.others import needs_root
from tests.kernel.running import HANG
from tests.web.serving import connect_as

UID: Final = 12345

IPV4: Final = "127.0.0.1"
MAPPED: Final = "::ffff:127.0.0.1"

KINDS: Final = {
    "v4": (IPV4, IPV4),
    "v6": ("::1", "::1"),
    "client mapped": (IPV4, MAPPED),
    "server mapped": ("::", IPV4),
    "both mapped": ("::", MAPPED),
}
"""The addresses of server and client."""


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """Return a listening socket and the address to connect to."""
    bound, to = request.param
    with listener(bound) as made:
        yield made, to


@contextmanager
def listener(bound: str = IPV4) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as made:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((bound, 0))
        made.listen()
        yield made


def client(made: socket.socket, to: str = IPV4) -> socket.socket:
    """Return a connected socket; an IPv6 socket for a mapped address."""
    sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
    sock.connect((to, made.getsockname()[1]))
    return sock


@pytest.fixture
def peers() -> Iterator[Peers]:
    with closing(Peers()) as made:
        yield made


def seen(peers: Peers, connection: socket.socket) -> int | None:
    """Return the uid; check that both ways agree."""
    found = peers.by_netlink(connection)
    assert peers.by_table(connection) == found
    return found


def test_user_of_a_connection_is_known(listening: tuple[socket.socket, str], peers: Peers) -> None:
    made, to = listening
    with client(made, to), made.accept()[0] as accepted:
        assert seen(peers, accepted) == os.geteuid()
        if os.geteuid() == 0:
            with connect_as(UID, made.getsockname()[1], to), made.accept()[0] as other:
                assert (seen(peers, other), seen(peers, accepted)) == (UID, 0)


def test_user_is_known_without_ipv6(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ipv6.disable=1 the kernel has no table of it."""
    monkeypatch.setattr(peer, "TABLES", (peer.TABLES[0], Path("/proc/self/net/tcp-of-no-kernel")))
    with listener() as made, client(made), made.accept()[0] as accepted:
        assert peers.by_table(accepted) == os.geteuid()


@needs_root
def test_half_closed_connection_keeps_its_user(
    listening: tuple[socket.socket, str], peers: Peers
) -> None:
    made, to = listening
    for is_client in (True, False):
        with connect_as(UID, made.getsockname()[1], to) as sock, made.accept()[0] as accepted:
            closing, other = (sock, accepted) if is_client else (accepted, sock)
            closing.shutdown(socket.SHUT_WR)
            assert other.recv(1) == b""
            assert seen(peers, accepted) == UID


def test_closed_connection_has_no_user(listening: tuple[socket.socket, str], peers: Peers) -> None:
    """A closed socket shows uid 0, which must not count as root's."""
    made, to = listening
    sock = client(made, to)
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with made.accept()[0] as accepted:
        sock.close()
        assert accepted.recv(100)
        assert accepted.recv(100) == b""
        assert peers.by_table(accepted) is None
        assert peers.by_netlink(accepted) is None


class Between(socket.socket):
    """A connection, as it says, between the addresses of two listening sockets."""

    ends: tuple[Any, Any]

    def getpeername(self) -> Any:
        return self.ends[0]

    def getsockname(self) -> Any:
        return self.ends[1]


def test_listening_socket_at_the_clients_address_is_not_the_client(peers: Peers) -> None:
    """The kernel answers with a listening socket if it finds no connection."""
    with listener() as first, listener() as second, Between() as connection:
        connection.ends = second.getsockname(), first.getsockname()
        with pytest.raises(OSError, match="another socket"):
            peers.by_netlink(connection)
        assert peers.by_table(connection) is None


@needs_root
def test_inherited_socket_keeps_the_user_of_its_creator(peers: Peers) -> None:
    """A process of root that inherits the socket does not change its user."""
    with (
        listener() as made,
        connect_as(UID, made.getsockname()[1]) as sock,
        made.accept()[0] as accepted,
    ):
        holder = os.fork()
        if not holder:
            time.sleep(HANG)
            os._exit(0)
        sock.close()
        try:
            assert seen(peers, accepted) == UID
        finally:
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)
        assert accepted.recv(1) == b""
        assert seen(peers, accepted) is None


# Other namespaces.

NEWUSER: Final = 0x10000000


def in_user_namespace(work: Callable[[], object], uid: int) -> None:
    """Run a function as root of a user namespace that maps only `uid`; pass on its failure."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: or root alone may write its uid_map
            assert ctypes.CDLL(None).unshare(NEWUSER) == 0
            os.write(ready[1], b".")
            os.read(go[0], 1)
            work()
            status = 0
        finally:
            os._exit(status)
    os.read(ready[0], 1)
    with open(f"/proc/{child}/uid_map", "w") as mapped:
        mapped.write(f"0 {uid} 1")
    os.write(go[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*ready, *go):
        os.close(end)


@needs_root
def test_root_of_another_user_namespace_is_the_user_that_made_it(peers: Peers) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, listener() as made:

        def work() -> None:
            assert os.getuid() == 0, "root, as it sees itself"
            sock = client(made)
            socket.send_fds(theirs, [b"."], [sock.fileno()])

        in_user_namespace(work, UID)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=descriptor), made.accept()[0] as accepted:
            assert seen(peers, accepted) == UID


@needs_root
def test_user_without_a_uid_in_this_namespace_is_unknown() -> None:
    """In a user namespace, users outside of it show as its overflow uid, which may be a user's there."""
    with (
        listener() as made,
        connect_as(UID, made.getsockname()[1]),
        made.accept()[0] as foreign,
        connect_as(UID + 1, made.getsockname()[1]),
        made.accept()[0] as own,
    ):

        def work() -> None:
            inside = Peers()
            assert inside.by_netlink(foreign) is None
            assert inside.by_table(foreign) is None
            assert inside.by_netlink(own) == inside.by_table(own) == 0

        in_user_namespace(work, UID + 1)


@needs_root
def test_overflow_uid_is_no_user(peers: Peers) -> None:
    """On Debian it is the uid of user nobody, shared by several programs."""
    with (
        listener() as made,
        connect_as(peer.overflow_uid(), made.getsockname()[1]),
        made.accept()[0] as accepted,
    ):
        assert seen(peers, accepted) is None
